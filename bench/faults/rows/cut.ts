/** The control plane is cut off from callees, callers or all of them for a while, and the cut heals: at once, or for one side first. */
import type { Bed, HostName } from "../bed.ts";
import { cut, heal } from "../cuts.ts";
import { NONE_FAILS, p99Within, type Row, type Stretch } from "../row.ts";

/** Seconds. */
const LENGTHS = [2, 10, 30, 60, 180];
const SHORT = [4];
const ORDERED_LENGTHS = [60];
/** Milliseconds before the cut, after it, and between the two sides that heal one after the other. */
const QUIET = 3000;
const AFTER = 15_000;
const AFTER_SHORT = 4000;
const BETWEEN = 8000;

type Cut = readonly [
  name: string,
  first: readonly HostName[],
  then: readonly HostName[],
];

const CUTS: readonly Cut[] = [
  ["callee", ["callee-1"], []],
  ["callees", ["callee-1", "callee-2"], []],
  ["caller", ["caller"], []],
  ["caller-and-callee", ["caller", "callee-1"], []],
  ["all", ["caller", "callee-1", "callee-2"], []],
];

/** Who heals later sees what the others came to meanwhile. */
const ORDERED: readonly Cut[] = [
  ["all-caller-heals-first", ["caller"], ["callee-1", "callee-2"]],
  ["all-callees-heal-first", ["callee-1", "callee-2"], ["caller"]],
];

export function cutRows(short: boolean): Row[] {
  const rows = (cuts: readonly Cut[], lengths: readonly number[]): Row[] =>
    cuts.flatMap((each) =>
      lengths.map((seconds) => ({
        name: `cut/${each[0]}/${seconds}s`,
        goals: [NONE_FAILS, p99Within(2)],
        run: (bed) => run(bed, each, seconds * 1000, short),
      })),
    );
  return [
    ...rows(CUTS, short ? SHORT : LENGTHS),
    ...rows(ORDERED, short ? SHORT : ORDERED_LENGTHS),
  ];
}

async function run(
  bed: Bed,
  [, first, then]: Cut,
  ms: number,
  short: boolean,
): Promise<Stretch> {
  const { clock } = bed.around;
  const plane = bed.host("plane");
  const hosts = (names: readonly HostName[]) =>
    names.map((name) => bed.host(name));
  const load = await bed.load("mixed");
  await bed.pause(QUIET);
  const faultAt = clock.now();
  await cut(plane, hosts([...first, ...then]));
  await bed.pause(ms);
  await heal(plane, hosts(first));
  if (then.length > 0) {
    await bed.pause(BETWEEN);
    await heal(plane, hosts(then));
  }
  const healedAt = clock.now();
  await bed.pause(short ? AFTER_SHORT : AFTER);
  return { records: await load.stop(), faultAt, healedAt };
}
