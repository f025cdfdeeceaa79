/** A control plane that floods, stalls, sends garbage or far too much takes no call from anybody, and no more of a sidecar than its share. */
import t, { type Test } from "tap";
import { WORK_SHARE } from "../../src/core/paced-work.ts";
import { closeCalls, eventually } from "../support/peers/call.ts";
import {
  FRAME_FLOODS,
  type FrameFlood,
} from "../support/hostile/mad-frames.ts";
import type { Madness, MessageMadness } from "../support/hostile/madness.ts";
import { startMadMesh, type MadSidecar } from "../support/hostile/mad-mesh.ts";

/** Calls until the sidecar runs as it will go on, and those over which CPU is counted. */
const WARM_UP = 200;
const IN_ORDER = 240;
const ROUND = 100;
/** Rounds in a row that show what it goes on with once its burst is spent, and in how many that has to be: on a busy machine a burst lasts. */
const STEADY = 2;
const ROUNDS = 40;
/** Of a core: the share, and what neighbours, the compiler and steps of 10 ms make of it. */
const MOST_SHARE = WORK_SHARE + 0.1;
/** Bytes. */
const MOST_GROWTH = 256 * 1024 * 1024;

/** Why a sidecar leaves a control plane that floods it, where it finds that out itself. */
const FLOODS = /floods its connection with frames that carry nothing/;
const UNASKED = /does not wait for acknowledgements/;
const LEFT_FOR: Partial<Readonly<Record<Madness, RegExp>>> = {
  "flood of revisions": UNASKED,
  "flood of empty messages": UNASKED,
  "flood of PING frames": FLOODS,
  "flood of WINDOW_UPDATE frames": FLOODS,
  "flood of frames that say nothing": FLOODS,
  "flood of interim responses": FLOODS,
  "flood of records of a byte": FLOODS,
};

const mesh = await startMadMesh();
t.teardown(async () => {
  await mesh.close();
  closeCalls();
});

/** Milliseconds of CPU that so many calls take; none of them fails. */
async function spend(
  t: Test,
  sidecar: MadSidecar,
  count: number,
): Promise<number> {
  const from = sidecar.cpu();
  const calls = await sidecar.calls(count);
  const failed = calls.filter(({ status }) => status !== 200);
  t.same(failed, [], `none of ${count} calls fails`);
  return sidecar.cpu() - from;
}

/** What a round of calls takes while the control plane is well. */
async function quietly(t: Test, sidecar: MadSidecar): Promise<number> {
  await spend(t, sidecar, WARM_UP);
  return spend(t, sidecar, ROUND);
}

async function madly(
  t: Test,
  sidecar: MadSidecar,
  madness: Madness,
  quiet: number,
): Promise<void> {
  const resident = sidecar.resident();
  const logged = sidecar.log.length;
  await mesh.madden(madness);
  const shares: number[] = [];
  const steady = (): boolean =>
    shares.length >= STEADY &&
    shares.slice(-STEADY).every((share) => share <= MOST_SHARE);
  while (!steady() && shares.length < ROUNDS) {
    const from = performance.now();
    const mad = await spend(t, sidecar, ROUND);
    shares.push((mad - quiet) / (performance.now() - from));
  }
  const told = shares.map((share) => share.toFixed(2)).join(", ");
  t.ok(steady(), `shares of a core: ${told}`);
  const growth = sidecar.resident() - resident;
  t.ok(growth <= MOST_GROWTH, `${(growth / 2 ** 20).toFixed(0)} MiB more`);
  const reason = LEFT_FOR[madness];
  if (reason === undefined) return;
  const log = await eventually(
    `the sidecar leaves it: ${reason.source}`,
    60_000,
    () => Promise.resolve(sidecar.log.slice(logged)),
    (text) => reason.test(text),
  );
  t.match(log, reason);
}

/** What a sidecar answers by calling again later and later, or by a config that it goes on with. */
const ALONE: readonly MessageMadness[] = [
  "flood of revisions",
  "flood of empty messages",
  "300 MB of resources",
  "a message of 300 MB",
  "resources of many values",
];

for (const madness of ALONE)
  void t.test(madness, async (t) => {
    await mesh.madden(undefined);
    const sidecar = await mesh.sidecar();
    t.teardown(() => sidecar.stop());
    await madly(t, sidecar, madness, await quietly(t, sidecar));
  });

/** The others, one after the other; the benchmark of faults has those that show the same. */
const IN_TURN: readonly Madness[] = [
  ...(Object.keys(FRAME_FLOODS) as FrameFlood[]),
  "stops within a message",
  "reads nothing",
  "garbage",
];

void t.test("one after the other", async (t) => {
  await mesh.madden(undefined);
  const sidecar = await mesh.sidecar();
  t.teardown(() => sidecar.stop());
  const quiet = await quietly(t, sidecar);
  for (const madness of IN_TURN)
    await t.test(madness, async (t) => {
      await mesh.followed();
      // In order for long enough, so that it comes back soon from what follows.
      await spend(t, sidecar, IN_ORDER);
      await madly(t, sidecar, madness, quiet);
      await mesh.madden(undefined);
    });
});
