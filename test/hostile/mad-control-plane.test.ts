/** A control plane that floods, stalls, sends garbage or far too much takes no call from anybody, and no more of a sidecar than its share. */
import t from "tap";
import { WORK_SHARE } from "../../src/core/paced-work.ts";
import { closeCalls } from "../support/peers/call.ts";
import { MADNESS, type Madness } from "../support/hostile/madness.ts";
import { startMadMesh } from "../support/hostile/mad-mesh.ts";

/** Calls until the sidecar runs as it will go on, and those over which CPU is counted. */
const WARM_UP = 200;
const ROUND = 200;
/** Rounds in a row that show what it goes on with once its burst is spent, and in how many that has to be: on a busy machine a burst lasts. */
const STEADY = 2;
const ROUNDS = 20;
/** Of a core: the share, and what neighbours, the compiler and steps of 10 ms make of it. */
const MOST_SHARE = WORK_SHARE + 0.1;
/** Bytes. */
const MOST_GROWTH = 256 * 1024 * 1024;

void t.test("a mad control plane", async (t) => {
  const mesh = await startMadMesh();
  t.teardown(async () => {
    await mesh.close();
    closeCalls();
  });
  for (const madness of Object.keys(MADNESS) as Madness[])
    await t.test(madness, async (t) => {
      await mesh.madden(undefined);
      const sidecar = await mesh.sidecar();
      t.teardown(() => sidecar.stop());
      const spend = async (count: number): Promise<number> => {
        const from = await sidecar.cpu();
        const calls = await sidecar.calls(count);
        const failed = calls.filter(({ status }) => status !== 200);
        t.same(failed, [], `none of ${count} calls fails`);
        return (await sidecar.cpu()) - from;
      };
      await spend(WARM_UP);
      const quiet = await spend(ROUND);
      const resident = await sidecar.resident();
      await mesh.madden(madness);
      const shares: number[] = [];
      const steady = (): boolean =>
        shares.length >= STEADY &&
        shares.slice(-STEADY).every((share) => share <= MOST_SHARE);
      while (!steady() && shares.length < ROUNDS) {
        const from = performance.now();
        const mad = await spend(ROUND);
        shares.push((mad - quiet) / (performance.now() - from));
      }
      const told = shares.map((share) => share.toFixed(2)).join(", ");
      t.ok(steady(), `shares of a core: ${told}`);
      const growth = (await sidecar.resident()) - resident;
      t.ok(growth <= MOST_GROWTH, `${(growth / 2 ** 20).toFixed(0)} MiB more`);
    });
});
