// The control plane is away until every certificate has ended: calls fail from then until it is back, and nobody has to lend a hand.
import t from "tap";
import { eventually, openLoad, type Called } from "../../support/peers/call.ts";
import { leafOf, startShop } from "../../support/processes/shop-processes.ts";

/** The shortest life that a certificate may have. */
const LIFE = 60_000;
/** Milliseconds after the return within which every call passes again. */
const RECOVERY = 30_000;

interface Seen extends Called {
  readonly at: number;
}

/** When the first certificate of the two ends, by the clock of `performance`. */
async function firstEnd(): Promise<number> {
  const ends = ["web", "orders"].map(async (account) => {
    const { validToDate } = await leafOf(shop, account);
    return validToDate.getTime() - performance.timeOrigin;
  });
  return Math.min(...(await Promise.all(ends)));
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
    const end = await firstEnd();
    const failed = await eventually(
      "the certificates end",
      2 * LIFE,
      () => shop.call(),
      ({ status }) => status !== 200,
    );
    t.match(failed.headers["x-wherry-reason"], /TLS_FAILED|NO_ENDPOINT/);
    t.ok(end - left > LIFE / 4, "with much of their life left");
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
    const failures = seen.filter(({ status }) => status !== 200);
    t.same(
      failures.filter(({ at, ms }) => at + ms < end),
      [],
      "none failed while both certificates held",
    );
    t.same(
      failures.filter(({ at }) => at >= returned + RECOVERY),
      [],
      "none failed after it had half a minute",
    );
    t.equal((await shop.call()).status, 200);
  },
);
