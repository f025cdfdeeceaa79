// The control plane is away until every certificate has ended: calls fail from then until it is back, and nobody has to lend a hand.
import t from "tap";
import { eventually, openLoad, type Called } from "../../support/peers/call.ts";
import { startShop } from "../../support/processes/shop-processes.ts";

/** The shortest life that a certificate may have. */
const LIFE = 60_000;
/** Milliseconds after the return within which every call passes again. */
const RECOVERY = 30_000;

interface Seen extends Called {
  readonly at: number;
}

const shop = await startShop({ mtls: { certificateTTL: "1m" } });
t.teardown(() => shop.close());

void t.test(
  "an outage past the end of all certificates costs the calls of that time, and no more",
  async (t) => {
    const seen: Seen[] = [];
    const load = openLoad(50, async () => {
      const at = performance.now();
      const called = await shop.call();
      seen.push({ ...called, at });
      return called;
    });
    await shop.killPlane();
    const left = performance.now();
    const failed = await eventually(
      "the certificates end",
      2 * LIFE,
      () => shop.call(),
      ({ status }) => status !== 200,
    );
    const ended = performance.now();
    t.match(failed.headers["x-wherry-reason"], /TLS_FAILED|NO_ENDPOINT/);
    t.ok(ended - left > LIFE / 4, "not before their end");
    await new Promise((resolve) => void setTimeout(resolve, 5000));
    t.not((await shop.call()).status, 200, "both have ended by now");
    await shop.returnPlane();
    const returned = performance.now();
    await eventually(
      "calls pass again",
      RECOVERY,
      () => shop.call(),
      ({ status }) => status === 200,
    );
    const recovered = performance.now();
    t.comment(
      `recovered ${Math.round(recovered - returned)} ms after the return`,
    );
    await new Promise((resolve) => void setTimeout(resolve, 10_000));
    await load.stop();
    const failures = (from: number, to: number): Seen[] =>
      seen.filter(({ at, status }) => status !== 200 && at >= from && at < to);
    t.same(failures(0, ended - 2000), [], "no call failed before");
    t.same(
      failures(returned + RECOVERY, Infinity),
      [],
      "none failed after it had half a minute",
    );
    t.equal((await shop.call()).status, 200);
  },
);
