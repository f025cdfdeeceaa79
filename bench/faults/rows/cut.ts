/** The control plane is cut off from callees, callers or all of them for a while, in every manner, and the cut heals: at once, or for one side first. */
import type { Bed } from "../bed.ts";
import type { HostName } from "../layout.ts";
import { cut, heal, type Manner } from "../cuts.ts";
import { NONE_FAILS, p99Within, type Row, type Stretch } from "../row.ts";

/** Seconds. */
const LENGTHS = [2, 10, 45, 90, 180];
const SHORT = [4];
/** Of cuts that are not the silent ones of both ways. */
const OTHER_LENGTHS = [10, 90];
const ORDERED_LENGTHS = [60];
/** Milliseconds before the cut, after it, and between the two sides that heal one after the other. */
const QUIET = 3000;
const AFTER = 15_000;
const AFTER_SHORT = 4000;
const BETWEEN = 8000;

interface Cut {
  readonly name: string;
  readonly first: readonly HostName[];
  /** These heal later, and see what the others came to meanwhile. */
  readonly then?: readonly HostName[];
  readonly manner?: Manner;
}

const CALLEES = ["callee-1", "callee-2"] as const;

/** Of three sidecars, callees and one callee with the caller are all but one. */
const CUTS: readonly Cut[] = [
  { name: "callee", first: ["callee-1"] },
  { name: "callees", first: CALLEES },
  { name: "caller", first: ["caller"] },
  { name: "caller-and-callee", first: ["caller", "callee-1"] },
  { name: "all", first: ["caller", ...CALLEES] },
];

const ORDERED: readonly Cut[] = [
  { name: "all-caller-heals-first", first: ["caller"], then: CALLEES },
  { name: "all-callees-heal-first", first: CALLEES, then: ["caller"] },
];

/** As the control plane has it: nothing comes in from its sidecars, nothing goes out to them, or both sides hear that nothing passes. */
const MANNERS: readonly Manner[] = ["in-dropped", "out-dropped", "rejected"];

export function cutRows(short: boolean): Row[] {
  const rows = (cuts: readonly Cut[], lengths: readonly number[]): Row[] =>
    cuts.flatMap((each) =>
      lengths.map((seconds) => ({
        name: `cut/${each.name}/${seconds}s`,
        goals: [NONE_FAILS, p99Within(2)],
        run: (bed) => run(bed, each, seconds * 1000, short),
      })),
    );
  const others = MANNERS.flatMap((manner) =>
    CUTS.map((each) => ({ ...each, name: `${each.name}-${manner}`, manner })),
  );
  return [
    ...rows(CUTS, short ? SHORT : LENGTHS),
    ...rows(ORDERED, short ? SHORT : ORDERED_LENGTHS),
    ...rows(others, short ? SHORT : OTHER_LENGTHS),
  ];
}

async function run(
  bed: Bed,
  { first, then = [], manner }: Cut,
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
  await cut(plane, hosts([...first, ...then]), manner);
  await bed.pause(ms);
  await heal(plane, hosts(first), manner);
  if (then.length > 0) {
    await bed.pause(BETWEEN);
    await heal(plane, hosts(then), manner);
  }
  const healedAt = clock.now();
  await bed.pause(short ? AFTER_SHORT : AFTER);
  return { records: await load.stop(), faultAt, healedAt };
}
