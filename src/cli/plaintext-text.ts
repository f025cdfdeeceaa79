/** Callers that still come in plaintext, as people read them. */
import type { PlaintextCaller } from "../control-plane/observed/views.ts";
import { age, table, type Paint } from "./table.ts";

/** The response of `GET /status/plaintext`. */
export interface PlaintextStatus {
  /** The control plane's wall clock, in milliseconds. */
  readonly now: number;
  readonly callers: readonly PlaintextCaller[];
}

export function plaintextText(
  { now, callers }: PlaintextStatus,
  paint: Paint,
): string {
  if (callers.length === 0)
    return "no call in plaintext came to a PERMISSIVE port in the last hour\n";
  const rows = callers.map(
    ({ namespace, workload, address, port, calls, first, last }) => [
      `${namespace}/${workload}`,
      String(port),
      paint("yellow", address === "" ? "unknown" : address),
      String(calls),
      `${age(now - first)} ago`,
      `${age(now - last)} ago`,
    ],
  );
  return table(
    ["WORKLOAD", "PORT", "FROM", "CALLS IN THE LAST HOUR", "FIRST", "LAST"],
    rows,
  );
}
