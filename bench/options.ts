/** The command line of `npm run bench`. */
import { UserError } from "../src/core/errors.ts";
import { readArguments, readNumber } from "./arguments.ts";
import { PEER_NAMES, type PeerName } from "./peer.ts";

export const USAGE = `npm run bench -- [SCENARIO or FAMILY …] [options]
npm run bench -- scale --help     what a change costs in meshes of many Services
npm run bench -- faults --help    what calls feel of cuts, black holes and a control plane gone mad
npm run bench -- costs            what single steps of a request cost, in ns

  --list               the scenarios and families there are
  --only NAME          the same as a name without it; may be repeated
  --runs 3             of each contender, alternated
  --seconds 8          of load in a run
  --warm-up 12         seconds of the same load before it: what is compiled at run time is compiled then
  --connections 32     of callers, where a scenario does not say it itself
  --minutes 10         of the scenario "growth"
  --peers A,B          only these peers, such as Wherry,Envoy
  --unpinned           proxies and load on all cores, all peers alike; without it each has cores of its own
  --dist FOLDER        measures a built package that is there, in place of building this checkout
  --beside FOLDER      measures a second built package of ours beside it
  --add                adds the runs to those that are kept, from the same versions
  --summary            no run: puts together what is kept in bench/results
  --json               JSON on standard output, not tables
  --no-save            keeps nothing in bench/results
`;

export interface Options {
  readonly names: readonly string[];
  readonly runs: number;
  readonly seconds: number;
  readonly warmUp: number;
  readonly connections: number;
  readonly minutes: number;
  readonly peers: readonly PeerName[];
  readonly pinned: boolean;
  readonly dist: string | undefined;
  readonly beside: string | undefined;
  readonly add: boolean;
  readonly json: boolean;
  readonly save: boolean;
}

export type Wish =
  | { readonly kind: "help" }
  | { readonly kind: "list" }
  | { readonly kind: "summary" }
  | { readonly kind: "run"; readonly options: Options };

export function readOptions(argv: readonly string[]): Wish {
  const { values, positionals } = readArguments(argv, OPTIONS, USAGE);
  if (values.help) return { kind: "help" };
  if (values.list) return { kind: "list" };
  if (values.summary) return { kind: "summary" };
  const number = (
    name: "runs" | "seconds" | "warm-up" | "connections" | "minutes",
    least: number,
  ): number => readNumber(name, values[name], least);
  return {
    kind: "run",
    options: {
      names: [...positionals, ...values.only],
      runs: number("runs", 1),
      seconds: number("seconds", 1),
      warmUp: number("warm-up", 1),
      connections: number("connections", 1),
      minutes: number("minutes", 0.2),
      peers: peersOf(values.peers),
      pinned: !values.unpinned,
      dist: values.dist,
      beside: values.beside,
      add: values.add,
      json: values.json,
      save: !values["no-save"],
    },
  };
}

function peersOf(text: string | undefined): readonly PeerName[] {
  if (text === undefined) return PEER_NAMES;
  return text.split(",").map((name) => {
    const known = PEER_NAMES.find(
      (each) => each.toLowerCase() === name.trim().toLowerCase(),
    );
    if (known === undefined)
      throw new UserError(
        `--peers ${name}: there are ${PEER_NAMES.join(", ")}`,
      );
    return known;
  });
}

const OPTIONS = {
  help: { type: "boolean", short: "h", default: false },
  list: { type: "boolean", default: false },
  summary: { type: "boolean", default: false },
  only: { type: "string", multiple: true, default: [] as string[] },
  runs: { type: "string", default: "3" },
  seconds: { type: "string", default: "8" },
  "warm-up": { type: "string", default: "12" },
  connections: { type: "string", default: "32" },
  minutes: { type: "string", default: "10" },
  peers: { type: "string" },
  unpinned: { type: "boolean", default: false },
  dist: { type: "string" },
  beside: { type: "string" },
  add: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  "no-save": { type: "boolean", default: false },
} as const;
