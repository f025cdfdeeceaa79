/** How often a rotation looks at the sidecars: seldom where a look takes long. */
import { join } from "node:path";
import t from "tap";
import { RotationRunner } from "../../../src/control-plane/trust/rotation-runner.ts";
import { openTrust } from "../../../src/control-plane/trust/trust.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { nextTurn } from "../../../src/core/slices.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { TRUST_DOMAIN } from "../../support/control-plane/push-control-plane.ts";

void t.test("a look is a twentieth of the time, at most", async (t) => {
  const rows: readonly (readonly [number, number])[] = [
    [0, 500],
    [10, 500],
    [100, 2000],
    [60_000, 5000],
  ];
  for (const [took, pause] of rows) {
    const time = fakeClock();
    let late = 0;
    const clock = { ...time, now: () => time.now() + late };
    const logger = silentLogger;
    const trust = await openTrust({
      directory: join(t.testdir(), `${took}`),
      store: openMemoryStore({ clock }),
      ...{ trustDomain: TRUST_DOMAIN, clock, logger },
    });
    let looks = 0;
    const status = (): Promise<[]> => {
      looks += 1;
      late += took;
      return Promise.resolve([]);
    };
    const runner = new RotationRunner({
      ...{ trust, push: { status }, clock, logger },
      // It is not connected: the rotation stays where it is.
      registry: { registered: ["shop/web-1"], lease: () => undefined },
    });
    const after = async (ms: number): Promise<number> => {
      time.advance(ms);
      for (let turn = 0; turn < 5; turn += 1) await nextTurn();
      return looks;
    };
    await runner.begin();
    t.equal(await after(500), 1, `${took} ms: the first`);
    t.equal(await after(pause - 1), 1, `${took} ms: no sooner`);
    t.equal(await after(1), 2, `${took} ms: the next`);
    await runner.close();
  }
});
