/** The control plane goes mad: what its sidecars make of it, in calls and in CPU. */
import type { Madness } from "../../../test/support/hostile/madness.ts";
import { MADNESS } from "../../../test/support/hostile/madness.ts";
import { watchCpu } from "../../scale/schedstat.ts";
import type { Bed } from "../bed.ts";
import type { MadPlane } from "../mad-plane.ts";
import { openMadBed } from "../open-bed.ts";
import {
  NONE_FAILS,
  p99Within,
  type Goal,
  type Row,
  type Stretch,
} from "../row.ts";

/** Milliseconds. */
const QUIET = 5000;
const LENGTH = 20_000;
const LENGTH_SHORT = 6000;
const AFTER = 5000;
const AFTER_SHORT = 2000;

const CPU = "CPU that it takes of the caller's sidecar, % of a core";
/** Not of seconds: code that runs for the first time is compiled, and the heap is collected as a whole once. */
const SHARE_OF_CORE: Goal = {
  text: "CPU ≤ 15 % of a core",
  met: ({ more }) => (more[CPU] ?? Number.NaN) <= 15,
};

export function madRows(short: boolean): Row[] {
  const planes = new WeakMap<Bed, MadPlane>();
  return (Object.keys(MADNESS) as Madness[]).map((madness) => ({
    name: `mad/${madness.replaceAll(" ", "-")}`,
    goals: [NONE_FAILS, p99Within(2), ...(short ? [] : [SHARE_OF_CORE])],
    async open(around) {
      const { bed, plane } = await openMadBed(around);
      planes.set(bed, plane);
      return bed;
    },
    run: (bed) => run(bed, planes.get(bed), madness, short),
  }));
}

async function run(
  bed: Bed,
  plane: MadPlane | undefined,
  madness: Madness,
  short: boolean,
): Promise<Stretch> {
  if (plane === undefined) throw new Error("no control plane that goes mad");
  const { clock } = bed.around;
  const load = await bed.load("mixed");
  const cpu = watchCpu(bed.sidecar("caller").pid);
  const shareOver = async (ms: number): Promise<number> => {
    const from = { cpu: cpu.ms(), at: clock.now() };
    await bed.pause(ms);
    return ((cpu.ms() - from.cpu) / (clock.now() - from.at)) * 100;
  };
  const quiet = await shareOver(QUIET);
  const faultAt = clock.now();
  await plane.madden(madness);
  const mad = await shareOver(short ? LENGTH_SHORT : LENGTH);
  await plane.madden(undefined);
  const healedAt = clock.now();
  await bed.pause(short ? AFTER_SHORT : AFTER);
  return {
    records: await load.stop(),
    faultAt,
    healedAt,
    more: { [CPU]: Math.max(0, mad - quiet) },
  };
}
