// A clock jumps, of the caller's machine, of the callee's or of the control plane's, or the control plane is started with a wrong one: no call fails, on old connections or on new ones.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { eventually, openLoad } from "../../support/peers/call.ts";
import { drawn } from "../../support/drawn.ts";
import { startShop } from "../../support/processes/shop-processes.ts";
import {
  findFaketime,
  shiftedMachine,
} from "../../support/clocks/shifted-machine.ts";
import { needs } from "../../support/processes/tools.ts";

/** Calls a second. */
const RATE = drawn("WHERRY_CLOCKS_RATE", 15, 50);
const SECOND = 1000;
const HOUR = 3600 * SECOND;
const JUMPS = [100 * SECOND, 600 * SECOND, 25 * HOUR].flatMap((ms) => [
  ms,
  -ms,
]);

const RENEWED = 'wherry_control_plane_renewals_total{result="issued"';

const library = findFaketime();
const missing = library === undefined ? ["faketime"] : [];

void t.test("clocks that jump", needs(missing), async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "wherry-clocks-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const machine = (name: string): ReturnType<typeof shiftedMachine> => {
    const place = mkdtempSync(join(directory, name));
    return shiftedMachine(place, library ?? "");
  };
  const places = {
    plane: machine("plane"),
    web: machine("web"),
    orders: machine("orders"),
  };
  const shop = await startShop({ places });
  t.teardown(() => shop.close());
  const web = shop.sidecar("web");
  // Has a clock that is right, and a connection of its own to the callee in each row.
  await shop.start("other");

  const planeMetric = async (name: string): Promise<number> => {
    const { text } = await shop.plane.ask("GET", "/metrics");
    return text
      .split("\n")
      .filter((line) => line.startsWith(name))
      .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  };
  const newCaller = async (what: string): Promise<void> => {
    const other = await shop.start("other");
    // On a busy machine its first question may take longer than a call waits for it.
    const called = await eventually(
      "a new caller is told of the callee",
      60_000,
      () => shop.call(other),
      ({ text }) => !text.startsWith("NO_CONFIG"),
    );
    t.equal(called.status, 200, `${what}: a new caller: ${called.text}`);
  };
  const followed = async (): Promise<void> => {
    await eventually(
      "the control plane is followed",
      90_000,
      () => shop.connected(),
      (names) =>
        ["orders-1", "other-1", "web-1"].every((name) => names.includes(name)),
    );
  };
  const underLoad = async (
    what: string,
    run: () => Promise<void>,
  ): Promise<void> => {
    const load = openLoad(RATE, () => shop.call(web));
    try {
      await run();
    } finally {
      await load.stop();
    }
    const { results } = load;
    t.same(
      results.filter(({ status }) => status !== 200),
      [],
      `${what}: ${results.length} calls`,
    );
  };

  for (const where of ["web", "orders", "plane"] as const)
    for (const ms of JUMPS) {
      const what = `${where}, ${ms / SECOND} s`;
      const jumps = (): Promise<number> =>
        where === "plane"
          ? planeMetric("wherry_clock_jumps_total")
          : shop.sidecar(where).metric("wherry_clock_jumps_total");
      const before = await jumps();
      await underLoad(what, async () => {
        places[where].shift(ms);
        await eventually(
          "the jump is noticed",
          20_000,
          jumps,
          (count) => count > before,
        );
        await newCaller(what);
        await followed();
        places[where].shift(0);
      });
    }

  // Its certificate is out of date by the clocks of others, which renew theirs at once; the clock is right again in the end.
  for (const ms of [25 * HOUR, -25 * HOUR, 0]) {
    const what = `plane, started at ${ms / SECOND} s`;
    await underLoad(what, async () => {
      await shop.killPlane();
      places.plane.shift(ms);
      await shop.returnPlane();
      await newCaller(what);
      await followed();
      if (ms === 0) return;
      await eventually(
        "a certificate is renewed by the clock of the mesh",
        60_000,
        () => planeMetric(RENEWED),
        (count) => count > 0,
      );
    });
  }
});
