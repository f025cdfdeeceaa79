/** What workloads call outside the mesh, as people read it. */
import { formatHostPort } from "../../core/text/host-port.ts";
import type { OutsideCaller } from "../../control-plane/observed/outside-calls.ts";
import { age, table, type Paint } from "../table.ts";

/** The response of `GET /status/egress`. */
export interface EgressStatus {
  /** The control plane's wall clock, in milliseconds. */
  readonly now: number;
  readonly callers: readonly OutsideCaller[];
  readonly dropped: number;
}

const HEAD = [
  ...["WORKLOAD", "ACCOUNT", "CALLS TO", "VERDICT"],
  ...["IN THE LAST HOUR", "FIRST", "LAST"],
];

export function egressText(
  { now, callers, dropped }: EgressStatus,
  paint: Paint,
): string {
  const dropLine =
    dropped === 0 ? "" : `up to ${dropped} calls found no room\n`;
  if (callers.length === 0)
    return `no call to a place outside the mesh is remembered of the last hour\n${dropLine}`;
  const rows = callers.map((caller) => [
    `${caller.namespace}/${caller.workload}`,
    caller.serviceAccount,
    placeOf(caller),
    verdictOf(caller, paint),
    String(caller.calls),
    `${age(now - caller.first)} ago`,
    `${age(now - caller.last)} ago`,
  ]);
  return `${table(HEAD, rows)}${dropLine}`;
}

function placeOf({ host, port, name }: OutsideCaller): string {
  if (host === "") return "other places";
  const place = formatHostPort(host, port);
  return name === "" ? place : `${place} (as ${name})`;
}

function verdictOf({ verdict, service }: OutsideCaller, paint: Paint): string {
  switch (verdict) {
    case "external":
      return paint("green", `Service ${service}`);
    case "refused":
      return paint("red", "refused");
    default:
      return paint("yellow", "passed through");
  }
}
