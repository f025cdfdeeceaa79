/** Why a Workload is not registered. */

/** `invalid`: the spec; `forbidden`: an address that is not the instance's to claim; `taken`: name or address is another's; `failed`: the store. */
export class RegistrationError extends Error {
  override readonly name = "RegistrationError";
  readonly kind: "invalid" | "forbidden" | "taken" | "failed";

  constructor(kind: RegistrationError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}
