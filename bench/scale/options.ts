/** The command line of `npm run bench -- scale`. */
import { UserError } from "../../src/core/errors.ts";
import { readArguments, readWhole } from "../arguments.ts";
import { LINE_NAMES, LINES, type Line } from "./figures.ts";

const SIZES = [10, 100, 1000, 10_000];
const USUAL = 1000;
/** What a mesh of the usual size is set beside. */
const BESIDE: readonly Line[] = ["envoy", "crowd"];

export const USAGE: string = `npm run bench -- scale [LINE …] [options]

What a change costs in a mesh of so many Services with a route each and ten times as many Workloads.

${LINE_NAMES.map((line) => `  ${line.padEnd(18)} ${LINES[line]}\n`).join("")}
  --services 1000      of the mesh; several as 10,100
  --all                meshes of ${SIZES.map((size) => size.toLocaleString("en")).join(" | ")} Services
  --table              the same within some 15 minutes: few changes, short churn, a crowd and Envoy beside 1,000 Services alone
  --changes 20         of each kind
  --churn-seconds 60   of the line "churn"
  --fleet 1000         streams; fewer where each holds so much that they would not fit in memory
  --crowd 1000         sidecars of the line "crowd"
  --list-seconds 100   for which its operators list
  --fleet-scope used   what each stream of the fleet asks for: "used", one that all use and nine others, or "all"
  --sidecar-option O   an option of the measured sidecar besides, such as --sidecar-option=--scope=used; may be repeated
  --cpu-prof FOLDER    keeps CPU profiles of the sidecar and the control plane there
  --fill store         where the mesh is written: "store" directly, or "api", which takes long
  --dist FOLDER        measures a built package that is there, in place of building this checkout
  --unpinned           everything on all cores; without it the sidecar has one for itself
  --beside FILE        shows the figures of a run kept by --json beside this one's
  --json FILE          keeps the run there
  --save               keeps the run in bench/results
`;

export interface ScaleOptions {
  readonly linesAt: (services: number) => readonly Line[];
  readonly sizes: readonly number[];
  readonly changes: number;
  readonly churnSeconds: number;
  readonly fleet: number;
  readonly crowd: number;
  readonly listSeconds: number;
  readonly fleetScope: "all" | "used";
  readonly sidecarOptions: readonly string[];
  readonly cpuProf: string | undefined;
  readonly fill: "store" | "api";
  readonly dist: string | undefined;
  readonly pinned: boolean;
  readonly beside: string | undefined;
  readonly json: string | undefined;
  readonly save: boolean;
}

/** Undefined: help is asked for. */
export function readScaleOptions(
  argv: readonly string[],
): ScaleOptions | undefined {
  const { values, positionals } = readArguments(argv, OPTIONS, USAGE);
  if (values.help) return undefined;
  const number = (
    name: "changes" | "churn-seconds" | "fleet" | "crowd" | "list-seconds",
    absent: number,
  ): number => readWhole(name, String(values[name] ?? absent), 1);
  const { fill } = values;
  if (fill !== "store" && fill !== "api")
    throw new UserError(`invalid --fill ${fill}: expected store or api`);
  const fleetScope = values["fleet-scope"];
  if (fleetScope !== "all" && fleetScope !== "used")
    throw new UserError(
      `invalid --fleet-scope ${fleetScope}: expected all or used`,
    );
  const { table } = values;
  const lines = linesOf(positionals);
  return {
    linesAt: (services) =>
      table && services !== USUAL
        ? lines.filter((line) => !BESIDE.includes(line))
        : lines,
    sizes: values.all || table ? SIZES : sizesOf(values.services),
    changes: number("changes", table ? 8 : 20),
    churnSeconds: number("churn-seconds", table ? 15 : 60),
    fleet: number("fleet", 1000),
    crowd: number("crowd", 1000),
    listSeconds: number("list-seconds", table ? 20 : 100),
    fleetScope,
    sidecarOptions: values["sidecar-option"],
    cpuProf: values["cpu-prof"],
    fill,
    dist: values.dist,
    pinned: !values.unpinned,
    beside: values.beside,
    json: values.json,
    save: values.save,
  };
}

function linesOf(names: readonly string[]): readonly Line[] {
  const lines = names.map((name) => {
    const known = LINE_NAMES.find((line) => line === name);
    if (known === undefined)
      throw new UserError(
        `invalid line "${name}": expected ${LINE_NAMES.join(", ")}`,
      );
    return known;
  });
  return lines.length === 0
    ? LINE_NAMES
    : LINE_NAMES.filter((line) => lines.includes(line));
}

function sizesOf(text: string): readonly number[] {
  return text.split(",").map((part) => {
    const size = Number(part);
    if (!Number.isInteger(size) || size < 2 || size > 20_000)
      throw new UserError(
        `invalid --services ${part}: expected 2 to 20,000, or several of them with commas`,
      );
    return size;
  });
}

const OPTIONS = {
  help: { type: "boolean", short: "h", default: false },
  services: { type: "string", default: String(USUAL) },
  all: { type: "boolean", default: false },
  table: { type: "boolean", default: false },
  changes: { type: "string" },
  "churn-seconds": { type: "string" },
  fleet: { type: "string" },
  crowd: { type: "string" },
  "list-seconds": { type: "string" },
  "fleet-scope": { type: "string", default: "used" },
  "sidecar-option": { type: "string", multiple: true, default: [] as string[] },
  "cpu-prof": { type: "string" },
  fill: { type: "string", default: "store" },
  dist: { type: "string" },
  unpinned: { type: "boolean", default: false },
  beside: { type: "string" },
  json: { type: "string" },
  save: { type: "boolean", default: false },
} as const;
