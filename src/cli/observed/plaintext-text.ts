/** Callers that still come in plaintext, as people read them. */
import type { PlaintextCaller } from "../../control-plane/observed/plaintext.ts";
import { age, table, type Paint } from "../table.ts";

/** The response of `GET /status/plaintext`. */
export interface PlaintextStatus {
  /** The control plane's wall clock, in milliseconds. */
  readonly now: number;
  readonly callers: readonly PlaintextCaller[];
  /** Absent: the control plane is older, and does not say. */
  readonly dropped?: number;
}

export function plaintextText(
  { now, callers, dropped = 0 }: PlaintextStatus,
  paint: Paint,
): string {
  const dropLine =
    dropped === 0
      ? ""
      : `up to ${dropped} calls found no room and are not judged here\n`;
  if (callers.length === 0)
    return dropped === 0
      ? "no call in plaintext came to a PERMISSIVE port in the last hour\n"
      : `no call in plaintext to a PERMISSIVE port is remembered of the last hour\n${dropLine}`;
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
  const head = [
    ...["WORKLOAD", "PORT", "FROM", "CALLS IN THE LAST HOUR", "FIRST", "LAST"],
  ];
  return `${table(head, rows)}${dropLine}`;
}
