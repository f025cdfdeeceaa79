/** Why an enrolment was refused: the push port turns the kind into a gRPC status. */

/** `refused`: the token; `invalid`: the request; `taken`: the name; `limited`: a failure among too many; `failed`: ours. */
export class EnrolmentError extends Error {
  override readonly name = "EnrolmentError";
  readonly kind: "refused" | "invalid" | "taken" | "limited" | "failed";

  constructor(kind: EnrolmentError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}
