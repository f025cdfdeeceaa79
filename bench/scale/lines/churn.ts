/** Many changed Workloads a second: what the sidecar and its calls notice of them. */
import { wait } from "../../../src/core/clock.ts";
import type { Api } from "../api.ts";
import type { Bed } from "../bed.ts";
import { figuresOf, type Figure } from "../figures.ts";
import type { Surroundings } from "../layout.ts";
import { workloadOf, workloadsOf, type Shape } from "../mesh.ts";
import type { HeldUp } from "../probe.ts";
import { watchCpu } from "../schedstat.ts";

export const CHURN_RATE = 50;
/** Milliseconds without a change that are measured for comparison. */
const QUIET = 6000;
/** Writes under way at a time: where the API is slower than the rate, the rate is not reached and the figure says so. */
const MOST_WRITES = 16;
/** Next to each other in time are far apart in the mesh. */
const STRIDE = 7919;

export async function measureChurn(bed: Bed): Promise<Figure[]> {
  const { clock, say } = bed.around;
  const seconds = bed.options.churnSeconds;
  const sidecar = await bed.newSidecar();
  const load = bed.load();
  const measure = async (
    run: () => Promise<number>,
  ): Promise<{
    readonly calls: Awaited<ReturnType<ReturnType<typeof load.window>["end"]>>;
    readonly share: number;
    readonly controlPlane: number;
    readonly held: HeldUp;
    readonly rate: number;
  }> => {
    const controlPlane = watchCpu(bed.controlPlane.running.pid);
    await sidecar.heldUp();
    const before = sidecar.cpu.ms();
    const from = clock.now();
    const window = load.window();
    const changes = await run();
    const took = clock.now() - from;
    const spent = sidecar.cpu.ms() - before;
    return {
      calls: await window.end(),
      share: (100 * spent) / took,
      controlPlane: (100 * controlPlane.ms()) / took,
      held: await sidecar.heldUp(),
      rate: (1000 * changes) / took,
    };
  };
  try {
    await bed.warmUp(load);
    const quiet = await measure(() => bed.pause(QUIET).then(() => 0));
    say(`  churn: ${seconds} s`);
    const churn = await measure(() =>
      churnFor(seconds, bed.shape, bed.api, bed.around),
    );
    return figuresOf("churn", [
      ["changes that the API took", "a second", churn.rate],
      ["CPU of the sidecar for it", "% of a core", churn.share - quiet.share],
      ["CPU of the sidecar, quiet", "% of a core", quiet.share],
      ["CPU of the control plane", "% of a core", churn.controlPlane],
      ["longest pause of the sidecar", "ms", churn.held.pause],
      ["longest pause, quiet", "ms", quiet.held.pause],
      ["longest work in one go", "ms CPU", churn.held.work],
      ["longest work in one go, quiet", "ms CPU", quiet.held.work],
      ["call p99", "ms", churn.calls.p99],
      ["call p99, quiet", "ms", quiet.calls.p99],
      ["slowest call", "ms", churn.calls.worst],
      ["failed calls", "", churn.calls.failed],
    ]);
  } finally {
    await load.stop();
    await sidecar.stop();
  }
}

/** Each change makes a Workload heavier, or lighter again. Resolves with how many were written. */
export async function churnFor(
  seconds: number,
  shape: Shape,
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
    const service = index % shape.services;
    const workload =
      Math.floor(index / shape.services) % workloadsOf(shape, service);
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
