/** A fault that a person must fix, and how to read whatever was thrown. */

/** The text of anything that was thrown, for a log line. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Node's `code` of a system error ("ECONNREFUSED"), where there is one. */
export function systemCode(thrown: unknown): string | undefined {
  if (
    thrown instanceof Error &&
    "code" in thrown &&
    typeof thrown.code === "string"
  )
    return thrown.code;
  return undefined;
}

/** What a process ends with: the guide (config/guide/lifecycle.md) tells what to do after each. */
export const EXIT = {
  /** It did what it was asked, or ended because it was asked to. */
  done: 0,
  /** A command that did not do what it was asked, or a part that cannot start. */
  failed: 1,
  /** EX_DATAERR of sysexits.h: what the control plane stored is damaged, and another start does not help. */
  damagedStore: 65,
  /** EX_SOFTWARE of sysexits.h: a defect, after which it ended in order. */
  defect: 70,
  /** Asked to stop while it was starting, or asked again: it ended at once. As a shell has it for SIGINT. */
  stopped: 130,
} as const;

/** A fault of configuration or usage that a person must fix: what, where and what to do, in its message. */
export class UserError extends Error {
  override readonly name = "UserError";
  /** What a command ends with that ends with it. */
  readonly exitCode: number;

  constructor(
    message: string,
    options: ErrorOptions & { readonly exitCode?: number } = {},
  ) {
    super(message, options);
    this.exitCode = options.exitCode ?? EXIT.failed;
  }
}
