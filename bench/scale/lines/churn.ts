/** Many changed Workloads a second: what the sidecar and its calls notice of them. */
import { wait } from "../../../src/core/clock.ts";
import type { Api } from "../api.ts";
import type { Bed } from "../bed.ts";
import { figuresOf, type Figure, type Row } from "../figures.ts";
import type { Surroundings } from "../layout.ts";
import type { Load, WindowResult } from "../load.ts";
import { unusedOf, workloadOf, workloadsOf, type Shape } from "../mesh.ts";
import type { HeldUp } from "../probe.ts";
import { watchCpu } from "../schedstat.ts";
import type { Sidecar } from "../sidecar.ts";
import { yieldTo } from "../yielding.ts";

export const CHURN_RATE = 50;
/** Milliseconds without a change that are measured for comparison. */
const QUIET = 6000;
/** Writes under way at a time: where the API is slower than the rate, the rate is not reached and the figure says so. */
const MOST_WRITES = 16;
/** Next to each other in time are far apart in the mesh. */
const STRIDE = 7919;

/** What the sidecar, its calls and the control plane did for some time. */
interface Spell {
  readonly calls: WindowResult;
  /** Calls that pass no proxy: what shares the core of the caller and the application does to them. */
  readonly straight: WindowResult;
  /** Percent of a core. */
  readonly share: number;
  readonly controlPlane: number;
  readonly held: HeldUp;
  /** Turns of the sidecar's event loop of more than 1 ms of CPU, a second. */
  readonly longTurns: number;
  /** Pushes to the sidecar, and changes that the API took, a second. */
  readonly pushes: number;
  readonly rate: number;
}

/**
 * Writes take CPU where the caller and the application run, too. So the control plane gets what these two leave of their core, in all spells,
 * and the same writes are measured once to Services of which the sidecar hears nothing: what calls feel beyond that is the sidecar's.
 */
export async function measureChurn(bed: Bed): Promise<Figure[]> {
  const { say } = bed.around;
  const { shape } = bed;
  const seconds = bed.options.churnSeconds;
  const sidecar = await bed.newSidecar();
  const restore = yieldTo(bed.controlPlane.running.pid);
  const load = bed.load();
  const straight = bed.straightLoad();
  const spell = (run: () => Promise<number>): Promise<Spell> =>
    spellOf(bed, sidecar, { load, straight }, run);
  const churn = (services: readonly number[]): Promise<number> =>
    churnFor(seconds, shape, services, bed.api, bed.around);
  try {
    await bed.warmUp(load);
    const quiet = await spell(() => bed.pause(QUIET).then(() => 0));
    say(`  churn: ${seconds} s of Services that the sidecar does not use`);
    const elsewhere = await spell(() => churn(unusedOf(shape)));
    say(`  churn: ${seconds} s of all Services`);
    const all = await spell(() => churn(allOf(shape)));
    return figuresOf("churn", churnRows(quiet, elsewhere, all));
  } finally {
    restore();
    await Promise.all([load.stop(), straight.stop()]);
    await sidecar.stop();
  }
}

function churnRows(quiet: Spell, elsewhere: Spell, all: Spell): Row[] {
  return [
    ["changes that the API took", "a second", all.rate],
    ["pushes", "a second", all.pushes],
    ["pushes, of Services not used", "a second", elsewhere.pushes],
    // Later than the quiet time, when V8 still compiles for the calls.
    ["CPU of the sidecar for it", "% of a core", all.share - elsewhere.share],
    ["CPU of the sidecar, quiet", "% of a core", quiet.share],
    ["CPU of the control plane", "% of a core", all.controlPlane],
    ["longest pause of the sidecar", "ms", all.held.pause],
    ["longest pause, quiet", "ms", quiet.held.pause],
    ["longest work in one go", "ms CPU", all.held.work],
    [
      "longest work in one go, of Services not used",
      "ms CPU",
      elsewhere.held.work,
    ],
    ["longest work in one go, quiet", "ms CPU", quiet.held.work],
    ["turns beyond 1 ms CPU", "a second", all.longTurns],
    [
      "turns beyond 1 ms CPU, of Services not used",
      "a second",
      elsewhere.longTurns,
    ],
    ["turns beyond 1 ms CPU, quiet", "a second", quiet.longTurns],
    ["call p99", "ms", all.calls.p99],
    ["call p99, of Services not used", "ms", elsewhere.calls.p99],
    [
      "call p99, beside Services not used",
      "times",
      all.calls.p99 / elsewhere.calls.p99,
    ],
    ["call p99, quiet", "ms", quiet.calls.p99],
    ["call p99 without a proxy", "ms", all.straight.p99],
    ["call p99 without a proxy, quiet", "ms", quiet.straight.p99],
    ["slowest call", "ms", all.calls.worst],
    ["failed calls", "", all.calls.failed + elsewhere.calls.failed],
  ];
}

async function spellOf(
  bed: Bed,
  sidecar: Sidecar,
  { load, straight }: { readonly load: Load; readonly straight: Load },
  run: () => Promise<number>,
): Promise<Spell> {
  const { clock } = bed.around;
  const controlPlane = watchCpu(bed.controlPlane.running.pid);
  const pushed = await pushes(bed);
  await sidecar.heldUp();
  const before = sidecar.cpu.ms();
  const from = clock.now();
  const windows = [load.window(), straight.window()] as const;
  const changes = await run();
  const took = clock.now() - from;
  const spent = sidecar.cpu.ms() - before;
  const held = await sidecar.heldUp();
  return {
    calls: await windows[0].end(),
    straight: await windows[1].end(),
    share: (100 * spent) / took,
    controlPlane: (100 * controlPlane.ms()) / took,
    held,
    longTurns: (1000 * held.long) / took,
    pushes: (1000 * ((await pushes(bed)) - pushed)) / took,
    rate: (1000 * changes) / took,
  };
}

/** The sidecar is the only one. */
async function pushes(bed: Bed): Promise<number> {
  const { statistics } = await bed.api.status();
  return statistics["pushes"] ?? Number.NaN;
}

export function allOf({ services }: Shape): readonly number[] {
  return Array.from({ length: services }, (_, service) => service);
}

/** Each change makes a Workload of one of the Services heavier, or lighter again. Resolves with how many were written. */
export async function churnFor(
  seconds: number,
  shape: Shape,
  services: readonly number[],
  api: Api,
  { clock, say }: Surroundings,
): Promise<number> {
  const from = clock.now();
  const until = from + seconds * 1000;
  let due = 0;
  let written = 0;
  let said = from;
  const running = new Set<Promise<void>>();
  while (clock.now() < until) {
    if (running.size >= MOST_WRITES) {
      await Promise.race(running);
      continue;
    }
    const index = due * STRIDE;
    const service = services[index % services.length] ?? 0;
    const workload =
      Math.floor(index / services.length) % workloadsOf(shape, service);
    const weight = 1 + ((Math.floor(due / 7) + due) % 5);
    due += 1;
    const write = api
      .put(workloadOf(shape, service, workload, { weight }))
      .then(() => {
        written += 1;
      })
      .finally(() => running.delete(write));
    running.add(write);
    if (clock.now() - said > 10_000) {
      said = clock.now();
      say(`  ${written} Workloads were written`);
    }
    const left = from + (due * 1000) / CHURN_RATE - clock.now();
    if (left > 0) await wait(clock, left, new AbortController().signal);
  }
  await Promise.all(running);
  return written;
}
