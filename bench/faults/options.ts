/** The command line of `npm run bench -- faults`. */
import { readArguments, readWhole } from "../arguments.ts";

export const USAGE = `npm run bench -- faults [ROW …] [options]

What calls feel while the mesh has a fault: two callees, a caller and a control plane in network namespaces, 200 calls a second.
It needs root, ip, iptables, setpriv and curl.

  cut                  the control plane is cut off from callees, callers or all of them, and back
  black-hole           one of two instances says nothing any more, and comes back
  outage               the control plane is killed and started again, sooner or later than all certificates have ended
  clocks               the control plane is started with a clock that is a day ahead or behind, while certificates are renewed
  mad                  the control plane floods, stalls, sends garbage or far too much
  machine              a full disk, a disk to read only, no file handles, a log that nobody reads
  restart              every sidecar is replaced in place, or the callees' are stopped and started in turn

  ROW                  only the rows whose names begin so, such as cut/callees or black-hole/drop/get
  --list               the names of all rows
  --rows A,B           the same as rows that are named without it
  --rounds 1           of each row
  --short              seconds in place of minutes
  --dist FOLDER        measures a built package that is there, in place of building this checkout
  --beside FILE        shows the figures of a run kept by --json beside this one's
  --json FILE          keeps the run there
  --save               keeps the run in bench/results
`;

export interface FaultsOptions {
  readonly names: readonly string[];
  readonly list: boolean;
  readonly rounds: number;
  readonly short: boolean;
  readonly dist: string | undefined;
  readonly beside: string | undefined;
  readonly json: string | undefined;
  readonly save: boolean;
}

/** Undefined: help is asked for. Throws UserError. */
export function readFaultsOptions(
  argv: readonly string[],
): FaultsOptions | undefined {
  const { values, positionals } = readArguments(argv, OPTIONS, USAGE);
  if (values.help) return undefined;
  const { list, rounds, short, dist, beside, json, save } = values;
  return {
    names: [...positionals, ...values.rows.flatMap((text) => text.split(","))],
    rounds: readWhole("rounds", rounds, 1),
    ...{ list, short, dist, beside, json, save },
  };
}

const OPTIONS = {
  help: { type: "boolean", short: "h", default: false },
  list: { type: "boolean", default: false },
  rows: { type: "string", multiple: true, default: [] as string[] },
  rounds: { type: "string", default: "1" },
  short: { type: "boolean", default: false },
  dist: { type: "string" },
  beside: { type: "string" },
  json: { type: "string" },
  save: { type: "boolean", default: false },
} as const;
