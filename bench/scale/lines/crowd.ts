/** A crowd of sidecars at one control plane: all enrol at once, operators list everything, and the process is killed. */
import { UserError } from "../../../src/core/errors.ts";
import type { Bed } from "../bed.ts";
import { startCrowd, type Crowd } from "../crowd/processes.ts";
import { figuresOf, type Figure } from "../figures.ts";
import { CALLERS } from "../layout.ts";

const OPERATORS = 8;
/** Milliseconds for all to be in. */
const WITHIN = 300_000;
/** Milliseconds between two looks. */
const LOOK = 100;
const OWN = "/apis/mesh.wherry.dev/v1alpha1";
const LISTS = [
  `${OWN}/services`,
  `${OWN}/workloads`,
  "/apis/gateway.networking.k8s.io/v1/httproutes",
  "/status",
];

export async function measureCrowd(bed: Bed): Promise<Figure[]> {
  const { clock, say } = bed.around;
  const { crowd: count, listSeconds } = bed.options;
  say(`  crowd: ${count} sidecars enrol`);
  const from = clock.now();
  const cpuBefore = bed.controlPlane.running.cpu();
  const crowd = await startCrowd(bed, count);
  const spent = crowd.watchCpu();
  try {
    await allIn(bed, crowd, count);
    const enrolled = clock.now() - from;
    const cpu = 1000 * (bed.controlPlane.running.cpu() - cpuBefore);
    const crowdCpu = spent.ms();
    const issued = await metric(bed, 'enrolments_total{result="issued"}');
    say(`  crowd: ${OPERATORS} operators list for ${listSeconds} s`);
    const { lost } = await crowd.look();
    const listed = await listing(bed, listSeconds * 1000);
    const after = await crowd.look();
    say("  crowd: the control plane is killed");
    const back = await kill(bed, crowd, count);
    return figuresOf("crowd", [
      ["sidecars", "", count],
      ["until all are enrolled and registered", "ms", enrolled],
      ["CPU of the control plane until then", "ms", cpu],
      ["CPU of the sidecars until then", "ms", crowdCpu],
      ["certificates issued for it", "", issued],
      ["lists taken", "", listed.taken],
      ["lists put off with 429", "", listed.putOff],
      ["lists that failed otherwise", "", listed.failed],
      ["longest wait for readiness under lists", "ms", listed.readiness],
      ["streams lost under lists", "", after.lost - lost],
      ["leases that ran out under lists", "", listed.unconfirmed],
      ["highest RSS of the control plane", "MiB", listed.rss],
      ["killed: until its API is ready", "ms", back.ready],
      ["killed: until all are back", "ms", back.all],
      ["killed: CPU of the control plane until then", "ms", back.cpu],
      ["killed: CPU of the sidecars until then", "ms", back.crowdCpu],
      ["killed: Workloads of the crowd", "", back.workloads],
      ["killed: RSS of the control plane", "MiB", back.rss],
    ]);
  } finally {
    await crowd.stop();
  }
}

async function allIn(bed: Bed, crowd: Crowd, count: number): Promise<void> {
  const { clock } = bed.around;
  const until = clock.now() + WITHIN;
  for (;;) {
    const state = await crowd.look();
    if (state.connected === count && state.registered === count) return;
    if (clock.now() > until)
      throw new UserError(
        `the crowd did not get in within ${WITHIN / 1000} s: ${JSON.stringify(state)}`,
      );
    await bed.pause(LOOK);
  }
}

interface Listed {
  taken: number;
  putOff: number;
  failed: number;
  readiness: number;
  unconfirmed: number;
  rss: number;
}

/** As kubectl does it: who is put off waits for as long as he is told. */
async function listing(bed: Bed, ms: number): Promise<Listed> {
  const { clock } = bed.around;
  const until = clock.now() + ms;
  const listed: Listed = {
    taken: 0,
    putOff: 0,
    failed: 0,
    readiness: 0,
    unconfirmed: 0,
    rss: 0,
  };
  const operator = async (): Promise<void> => {
    for (let index = 0; clock.now() < until; index += 1) {
      const path = LISTS[index % LISTS.length] ?? "";
      const { status, retryAfter } = await bed.api.read(path);
      if (status === 200) listed.taken += 1;
      else if (status !== 429) listed.failed += 1;
      else {
        listed.putOff += 1;
        await bed.pause(retryAfter * 1000);
      }
    }
  };
  const watcher = async (): Promise<void> => {
    while (clock.now() < until) {
      const from = clock.now();
      const { status } = await bed.api.read("/readyz");
      if (status !== 200) listed.failed += 1;
      listed.readiness = Math.max(listed.readiness, clock.now() - from);
      listed.rss = Math.max(listed.rss, bed.controlPlane.running.rss());
      listed.unconfirmed = Math.max(
        listed.unconfirmed,
        await metric(bed, 'leases{state="unconfirmed"}'),
      );
      await bed.pause(LOOK);
    }
  };
  await Promise.all([
    watcher(),
    ...Array.from({ length: OPERATORS }, operator),
  ]);
  return listed;
}

async function kill(
  bed: Bed,
  crowd: Crowd,
  count: number,
): Promise<{
  readonly ready: number;
  readonly all: number;
  readonly cpu: number;
  readonly crowdCpu: number;
  readonly workloads: number;
  readonly rss: number;
}> {
  const { clock } = bed.around;
  const from = clock.now();
  const spent = crowd.watchCpu();
  process.kill(bed.controlPlane.running.pid, "SIGKILL");
  await bed.controlPlane.stop();
  await bed.resumeControlPlane();
  const ready = clock.now() - from;
  await allIn(bed, crowd, count);
  const all = clock.now() - from;
  // Its start is in it.
  const cpu = 1000 * bed.controlPlane.running.cpu();
  const crowdCpu = spent.ms();
  const { text } = await bed.api.read(`${OWN}/namespaces/${CALLERS}/workloads`);
  const { items } = JSON.parse(text) as { readonly items: readonly unknown[] };
  const rss = bed.controlPlane.running.rss();
  return { ready, all, cpu, crowdCpu, workloads: items.length, rss };
}

/** A sample of the control plane's own metrics. */
async function metric(bed: Bed, name: string): Promise<number> {
  const { text } = await bed.api.read("/metrics");
  const line = text
    .split("\n")
    .find((each) => each.startsWith(`wherry_control_plane_${name} `));
  return Number(line?.slice(line.lastIndexOf(" ") + 1) ?? 0);
}
