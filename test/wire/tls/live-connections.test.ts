/** Live connections when trust changes: which fall, in what order they end, and that the others go on. */
import { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import t, { type Test } from "tap";
import { watchSource, type WatchSource } from "../../../src/core/watch.ts";
import { Revoked, type Revocation } from "../../../src/identity/revoked.ts";
import type { TrustSet } from "../../../src/identity/trust.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import {
  CUT_AFTER,
  LiveConnections,
} from "../../../src/wire/tls/live-connections.ts";
import {
  fakeAuthority,
  type FakeAuthority,
} from "../../support/certificates/certificate-authority.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import { connecting, testLink } from "../../support/peers/link.ts";

const mesh = fakeAuthority();
const next = fakeAuthority();
const both = mesh.bundle + next.bundle;

interface Bed {
  readonly clock: FakeClock;
  readonly trust: WatchSource<TrustSet | undefined>;
  readonly live: LiveConnections;
  /** What happened to which connection. */
  readonly told: string[];
  /** How often one was looked at. */
  readonly looks: () => number;
  /** A connection of that workload to the listener, entered as `name`. */
  readonly connect: (
    name: string,
    authority?: FakeAuthority,
  ) => Promise<TLSSocket>;
  readonly revoke: (
    ...revocations: readonly Omit<Revocation, "name">[]
  ) => void;
}

/** `bundle`: what the listener trusts. */
async function bed(t: Test, bundle: string = both): Promise<Bed> {
  const clock = fakeClock();
  const trust = watchSource<TrustSet | undefined>({
    trustBundle: bundle,
    revoked: Revoked.NONE,
  });
  let looks = 0;
  const live = new LiveConnections({
    clock,
    trust,
    times() {
      looks += 1;
      return [Date.now()];
    },
  });
  const told: string[] = [];
  const orders = { ...mesh.credentials("orders"), trustBundle: bundle };
  const link = await testLink(orders);
  t.teardown(() => {
    live.close();
    link.close();
  });
  return {
    ...{ clock, trust, live, told, looks: () => looks },
    async connect(name, authority = mesh) {
      const web = { ...authority.credentials(name), trustBundle: both };
      const settled = link.settled(link.accepted.length + 1);
      const { socket } = await connectLink(connecting(web, orders)(link.port));
      t.teardown(() => socket.destroy());
      await settled;
      const own = link.accepted.at(-1)?.socket;
      if (own === undefined) throw new Error("it was not taken");
      live.enter(own, {
        stop: (fault) => told.push(`${name} stops: ${fault}`),
        drain: () => told.push(`${name} drains`),
        cut: () => told.push(`${name} is cut`),
      });
      return socket;
    },
    revoke(...revocations) {
      trust.set({
        trustBundle: trust.value?.trustBundle ?? bundle,
        revoked: new Revoked(
          revocations.map((each, index) => ({ name: `r${index}`, ...each })),
        ),
      });
    },
  };
}

void t.test("none is looked at where no more is revoked", async (t) => {
  const { connect, revoke, looks } = await bed(t);
  await connect("web");
  const [pay, shop] = [mesh.id("pay"), mesh.id("shop")];
  const before = looks();
  revoke({ identity: pay }, { identity: shop });
  t.ok(looks() > before);
  const after = looks();
  revoke({ identity: pay });
  revoke();
  t.equal(looks(), after);
  revoke({ identity: pay });
  t.ok(looks() > after);
});

void t.test(
  "law 5: a revoked peer is stopped at once, and cut later",
  async (t) => {
    const { clock, live, told, connect, revoke } = await bed(t);
    await connect("web");
    await connect("pay");
    revoke({ identity: mesh.id("web") });
    t.strictSame(told, [
      `web stops: the identity ${mesh.id("web")} is revoked by the Revocation r0`,
    ]);
    t.equal(live.fallen.value, 1);
    clock.advance(CUT_AFTER - 1);
    t.equal(told.length, 1);
    clock.advance(1);
    t.strictSame(told.slice(1), ["web is cut"]);
    revoke({ identity: mesh.id("web") }, { identity: mesh.id("pay") });
    clock.advance(CUT_AFTER);
    t.strictSame(
      told.slice(2).map((each) => each.slice(0, 9)),
      ["pay stops", "pay is cu"],
      "and nobody twice",
    );
  },
);

void t.test("one that has ended is not cut", async (t) => {
  const { clock, told, connect, revoke } = await bed(t);
  const socket = await connect("web");
  revoke({ identity: mesh.id("web") });
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.destroy();
  await closed;
  await new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
  clock.advance(CUT_AFTER);
  t.equal(told.length <= 2, true);
});

void t.test(
  "a root that is taken out takes its connections along",
  async (t) => {
    const { clock, trust, told, connect } = await bed(t);
    await connect("web");
    await connect("pay", next);
    trust.set({ trustBundle: next.bundle, revoked: Revoked.NONE });
    clock.advance(CUT_AFTER);
    t.equal(told.length, 2);
    t.match(told[0], /^web drains$/);
    t.equal(told[1], "web is cut");
    trust.set({ trustBundle: both, revoked: Revoked.NONE });
    clock.advance(CUT_AFTER);
    t.equal(told.length, 2, "a root that is added takes nobody");
  },
);

void t.test(
  "a handshake that had begun before its root was taken out falls, too",
  async (t) => {
    const { clock, trust, told, connect } = await bed(t);
    trust.set({ trustBundle: next.bundle, revoked: Revoked.NONE });
    clock.advance(0);
    await connect("web");
    await connect("pay", next);
    t.same(told, [], "not in the midst of its making");
    clock.advance(0);
    t.match(told, [/^web drains$/]);
    t.equal(told.length, 1);
    clock.advance(31_000);
    told.length = 0;
    await connect("late");
    clock.advance(0);
    t.same(told, [], "no handshake takes so long: nothing is looked at");
  },
);

void t.test("a change in the midst of a round loses nothing", async (t) => {
  const { clock, trust, told, connect } = await bed(t);
  for (let index = 0; index < 40; index += 1) await connect("web");
  await connect("pay", next);
  trust.set({ trustBundle: next.bundle, revoked: Revoked.NONE });
  t.equal(told.length, 31, "32 in a turn, and one of them stands");
  trust.set({
    trustBundle: next.bundle,
    revoked: new Revoked([{ name: "r", identity: next.id("pay") }]),
  });
  clock.advance(1);
  const stopped = told.filter((each) => / (stops|drains)/.test(each));
  t.equal(stopped.length, 41);
});

void t.test("an end that proves nothing is judged by its claim", async (t) => {
  const { live, told, connect, revoke } = await bed(t);
  const socket = await connect("web");
  const end = {
    stop: (fault: string) => told.push(`claimed stops: ${fault}`),
    drain: () => told.push("claimed drains"),
    cut: () => undefined,
  };
  const claim = {
    uri: undefined,
    instance: "shop/db-1",
    certificate: undefined,
  };
  live.enter(socket, end, claim);
  revoke({ instance: "shop/db-1", serial: "A1" });
  t.match(told, [/^claimed stops: /]);
});

void t.test("a root that comes soon after another one went", async (t) => {
  const third = fakeAuthority();
  const { clock, trust, told, connect } = await bed(t, both + third.bundle);
  trust.set({ trustBundle: next.bundle, revoked: Revoked.NONE });
  clock.advance(1000);
  trust.set({ trustBundle: next.bundle + third.bundle, revoked: Revoked.NONE });
  await connect("third", third);
  await connect("web");
  clock.advance(CUT_AFTER);
  t.same(told, ["web drains", "web is cut"]);
  clock.advance(28_000);
  told.length = 0;
  await connect("late");
  clock.advance(0);
  t.same(told, [], "and handshakes have no longer for it");
});

void t.test(
  "a handshake that ends in the midst of a later round falls, too",
  async (t) => {
    const { clock, trust, told, connect, revoke } = await bed(t);
    trust.set({ trustBundle: next.bundle, revoked: Revoked.NONE });
    for (let index = 0; index < 40; index += 1) await connect("pay", next);
    clock.advance(0);
    revoke({ identity: mesh.id("nobody") });
    await connect("web");
    clock.advance(CUT_AFTER);
    t.same(told, ["web drains", "web is cut"]);
  },
);

void t.test("changes without a pause spare nobody", async (t) => {
  const { live, told, revoke } = await bed(t);
  // The oldest is revoked, and the many that came after it stand.
  for (let index = 0; index < 100; index += 1) {
    const instance = `shop/db-${index}`;
    const socket = new Socket();
    t.teardown(() => socket.destroy());
    const claim = { uri: undefined, instance, certificate: undefined };
    const stop = (): unknown => told.push(instance);
    const end = { stop, drain: () => undefined, cut: () => undefined };
    live.enter(socket, end, claim);
  }
  for (let more = 1; more <= 4; more += 1) {
    t.same(told, [], "32 at each change");
    const others = Array.from({ length: more }, (_, index) => ({
      instance: `shop/other-${index}`,
    }));
    revoke({ instance: "shop/db-0" }, ...others);
  }
  t.same(told, ["shop/db-0"]);
});

void t.test(
  "a trust domain that is taken out takes its own along",
  async (t) => {
    const { clock, trust, told, connect } = await bed(t);
    const trusting = (...trustDomains: readonly string[]): void =>
      trust.set({ trustBundle: both, revoked: Revoked.NONE, trustDomains });
    trusting("shop.example", "cluster.local", "old.example");
    await connect("web");
    trusting("shop.example", "cluster.local");
    clock.advance(CUT_AFTER);
    t.same(told, [], "another's is nothing to it");
    trusting("shop.example");
    t.same(told, ["web drains"]);
    clock.advance(CUT_AFTER);
    t.same(told, ["web drains", "web is cut"]);
    trusting("shop.example", "cluster.local");
    await connect("pay");
    clock.advance(CUT_AFTER);
    t.equal(told.length, 2, "one that is back takes nobody");
  },
);
