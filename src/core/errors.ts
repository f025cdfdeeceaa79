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

/** A fault of configuration or usage that a person must mend: what, where and what to do, in its message. */
export class UserError extends Error {
  override readonly name = "UserError";
}
