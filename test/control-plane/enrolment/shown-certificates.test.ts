/** Which certificates of an instance are superseded: by what it has shown since, in this process of the control plane and the ones before. */
import t from "tap";
import { openShownCertificates } from "../../../src/control-plane/enrolment/shown-certificates.ts";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { OTHER, PEER } from "../../support/control-plane/registry.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const WALL = Date.UTC(2026, 0, 1);
const since = (hours: number, peer = PEER): Peer => ({
  ...peer,
  certificateNotBefore: WALL + hours * HOUR,
});

void t.test("older than what was shown, and nothing else", async (t) => {
  const clock = fakeClock({ wall: WALL + DAY });
  const store = openMemoryStore({ clock });
  const options = { store, clock, logger: silentLogger };
  const shown = await openShownCertificates(options);
  t.equal(shown.isSuperseded(since(0)), false, "nothing is known");
  shown.shown(since(12));
  shown.shown(since(0));
  const rows: readonly (readonly [Peer, boolean])[] = [
    [since(0), true],
    [since(12), false],
    [since(13), false],
    [since(0, OTHER), false],
    [since(0, { ...PEER, identity: OTHER.identity }), false],
  ];
  for (const [peer, superseded] of rows)
    t.equal(shown.isSuperseded(peer), superseded);
  await shown.close();
  const next = await openShownCertificates(options);
  for (const [peer, superseded] of rows)
    t.equal(next.isSuperseded(peer), superseded, "noted");
  clock.jump(-25 * HOUR);
  t.equal(
    next.isSuperseded(since(-40)),
    false,
    "what was shown while the clock was ahead proves nothing",
  );
  next.shown(since(-30));
  t.equal(next.isSuperseded(since(-40)), true);
  await next.close();
  t.equal(clock.pending, 0);
});

void t.test(
  "one that was issued while the clock was right is not refused once it is ahead again, though the process was killed",
  async (t) => {
    const clock = fakeClock({ wall: WALL + 25 * HOUR });
    const store = openMemoryStore({ clock });
    const options = { store, clock, logger: silentLogger };
    const shown = await openShownCertificates(options);
    shown.shown(since(24));
    clock.advance(1000);
    clock.jump(-25 * HOUR);
    shown.shown(since(-1, OTHER));
    shown.shown(since(-1));
    clock.advance(50);
    await new Promise((resolve) => void setImmediate(resolve));
    clock.jump(25 * HOUR);
    const next = await openShownCertificates(options);
    t.equal(next.isSuperseded(since(-1)), false);
    t.equal(next.isSuperseded(since(-2)), true, "a copy of the one before");
    await next.close();
    await shown.close();
    t.equal(clock.pending, 0);
  },
);

void t.test(
  "what was issued by a clock behind is not refused once it is right, or ahead, though it was not shown",
  async (t) => {
    for (const noted of [24, 0]) {
      const clock = fakeClock({ wall: WALL + (noted + 1) * HOUR });
      const store = openMemoryStore({ clock });
      const options = { store, clock, logger: silentLogger };
      const shown = await openShownCertificates(options);
      shown.shown(since(noted));
      clock.jump((-25 - noted) * HOUR);
      t.equal(shown.isSuperseded(since(noted)), false);
      shown.issued(since(noted), since(-25).certificateNotBefore);
      clock.advance(50);
      await new Promise((resolve) => void setImmediate(resolve));
      clock.jump(50 * HOUR);
      const next = await openShownCertificates(options);
      const given = since(-25);
      t.equal(next.isSuperseded(given), false, `noted ${noted} h`);
      t.equal(next.isSuperseded(since(-26)), true, "older ones are copies");
      await next.close();
      await shown.close();
    }
    const clock = fakeClock({ wall: WALL + DAY });
    const shown = await openShownCertificates({
      ...{ store: openMemoryStore({ clock }), clock, logger: silentLogger },
    });
    shown.shown(since(12));
    shown.issued(since(12), since(23).certificateNotBefore);
    t.equal(shown.isSuperseded(since(11)), true, "a right clock lowers none");
    await shown.close();
  },
);

void t.test("what a person took away is retired", async (t) => {
  const clock = fakeClock({ wall: WALL + DAY });
  const store = openMemoryStore({ clock });
  const shown = await openShownCertificates({
    ...{ store, clock, logger: silentLogger },
  });
  shown.shown(since(12));
  shown.retire("shop/web-1", PEER.identity);
  t.equal(shown.isSuperseded(since(12)), true);
  t.equal(shown.isSuperseded(since(22.9)), true, "it came before that");
  t.equal(shown.isSuperseded(since(23)), false, "it has enrolled again");
  t.equal(shown.isSuperseded(since(12, OTHER)), false);
  await shown.close();
});

void t.test("what no certificate can hang on is forgotten", async (t) => {
  const clock = fakeClock({ wall: WALL });
  const store = openMemoryStore({ clock });
  const shown = await openShownCertificates({
    ...{ store, clock, logger: silentLogger },
  });
  shown.shown(since(-1));
  clock.advance(179 * DAY);
  t.equal(shown.size, 1);
  clock.advance(2 * DAY);
  t.equal(shown.size, 0);
  await shown.close();
  t.equal((await store.notes("shown/")).size, 0);
});

void t.test("a clock that is ahead at the start forgets nothing", async (t) => {
  const clock = fakeClock({ wall: WALL });
  const store = openMemoryStore({ clock });
  const options = { store, clock, logger: silentLogger };
  const before = await openShownCertificates(options);
  before.shown(since(-1));
  await before.close();
  clock.jump(400 * DAY);
  const ahead = await openShownCertificates(options);
  clock.advance(1000);
  await ahead.close();
  clock.jump(-400 * DAY);
  const shown = await openShownCertificates(options);
  t.equal(shown.isSuperseded(since(-2)), true);
  await shown.close();
});

void t.test("a store that takes no note refuses nobody", async (t) => {
  const clock = fakeClock({ wall: WALL });
  const shown = await openShownCertificates({
    store: {
      notes: () => Promise.resolve(new Map([["shown/x", "no number"]])),
      setNotes: () => Promise.reject(new Error("disk full")),
    },
    ...{ clock, logger: silentLogger },
  });
  t.equal(shown.size, 0);
  shown.shown(since(-1));
  clock.advance(1000);
  await shown.close();
  t.equal(shown.isSuperseded(since(-2)), true);
});
