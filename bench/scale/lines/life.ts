/** The start of a sidecar that uses five Services, by a token and from its disk, and its memory, beside those in a mesh of five. */
import type { Bed, NewSidecar } from "../bed.ts";
import { figuresOf, spreadOf, type Figure, type Row } from "../figures.ts";
import { nameOf, namespaceOf } from "../mesh.ts";
import type { Sidecar } from "../sidecar.ts";

const STARTS = 3;
/** Milliseconds after which memory is read. */
const SETTLE = 4000;
const KEPT = 1000;

/** All that there are in the smaller mesh: in both it holds the same, and nothing that others of its account used. */
const USED = [0, 1, 2, 3, 4];
const RESIDENT: NewSidecar = {
  account: "resident",
  options: USED.flatMap((service) => [
    "--upstream",
    `${namespaceOf(service)}/${nameOf(service)}`,
  ]),
};

export interface Life {
  /** Milliseconds to readiness, by start. */
  readonly first: readonly number[];
  readonly again: readonly number[];
  /** Milliseconds of CPU until then, which other work on the machine does not change. */
  readonly cpuFirst: readonly number[];
  readonly cpuAgain: readonly number[];
  /** MiB. */
  readonly rssFirst: readonly number[];
  readonly rssAgain: readonly number[];
}

export async function liveThrough(bed: Bed): Promise<Life> {
  const life = {
    first: [] as number[],
    again: [] as number[],
    cpuFirst: [] as number[],
    cpuAgain: [] as number[],
    rssFirst: [] as number[],
    rssAgain: [] as number[],
  };
  for (let start = 1; start <= STARTS; start += 1) {
    bed.around.say(`  life: start ${start} of ${STARTS}`);
    const last = start === STARTS;
    const sidecar = await bed.newSidecar(RESIDENT);
    life.first.push(sidecar.readyAfter);
    life.cpuFirst.push(sidecar.cpuToReady);
    life.rssFirst.push(...(await leave(bed, sidecar, last)));
    const again = await sidecar.again();
    life.again.push(again.readyAfter);
    life.cpuAgain.push(again.cpuToReady);
    life.rssAgain.push(...(await leave(bed, again, last)));
  }
  return life;
}

/** Ends it; before that, memory is read where it is asked for. */
async function leave(
  bed: Bed,
  sidecar: Sidecar,
  settled: boolean,
): Promise<number[]> {
  try {
    // What it has to keep is on its disk then.
    await bed.pause(settled ? SETTLE : KEPT);
    return settled ? [sidecar.running.rss()] : [];
  } finally {
    await sidecar.stop();
  }
}

export function lifeFigures(life: Life, five: Life): Figure[] {
  const rows = (
    suffix: string,
    { first, again, cpuFirst, cpuAgain, rssFirst, rssAgain }: Life,
  ): Row[] => [
    [`ready, first start${suffix}`, "ms", spreadOf(first).p50],
    [`ready, from disk${suffix}`, "ms", spreadOf(again).p50],
    [`CPU until then, first start${suffix}`, "ms", spreadOf(cpuFirst).p50],
    [`CPU until then, from disk${suffix}`, "ms", spreadOf(cpuAgain).p50],
    [`RSS, first start${suffix}`, "MiB", spreadOf(rssFirst).p50],
    [`RSS, from disk${suffix}`, "MiB", spreadOf(rssAgain).p50],
  ];
  return figuresOf("life", [
    ...rows("", life),
    ...rows(", mesh of five", five),
  ]);
}
