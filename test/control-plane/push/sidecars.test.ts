/** The sidecars of a push port, looked at from outside: all of them in slices, and one by its name. */
import { EventEmitter } from "node:events";
import { status } from "@grpc/grpc-js";
import t from "tap";
import {
  AT_ONCE,
  Debts,
  LONGEST_DEBT,
} from "../../../src/control-plane/push/asked/debts.ts";
import { startFeed } from "../../../src/control-plane/push/feed.ts";
import type { GrpcError } from "../../../src/control-plane/push/grpc.ts";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import {
  COPY_WAITS,
  Sidecars,
  type SidecarsOptions,
} from "../../../src/control-plane/push/sidecars.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { REQUEST } from "../../support/control-plane/raw-sidecar.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";

interface Port {
  readonly sidecars: Sidecars;
  readonly clock: FakeClock;
  /** Opens the stream of a sidecar; the result ends it. */
  readonly open: (name: string, account?: string, asks?: boolean) => () => void;
  /** A stream of web-1 with one certificate, whatever the address; `ended`: with which error. */
  readonly calls: (source: string) => {
    ended(): { readonly code: status; readonly details: string } | undefined;
  };
}

async function port(
  t: { after(run: () => Promise<void>): void },
  lease: SidecarsOptions["registry"]["lease"] = () => undefined,
): Promise<Port> {
  const clock = fakeClock();
  let worked = 0;
  const debts = new Debts(clock, () => worked);
  const store = openMemoryStore({ clock });
  const feed = await startFeed({
    ...{ store, clock, logger: silentLogger },
    gather: { quiet: 50, most: 500 },
    onSettled: () => undefined,
  });
  t.after(() => feed.close());
  const sidecars = new Sidecars({
    ...{ clock, logger: silentLogger, store },
    accepted: () => false,
    trust: () => undefined,
    debts,
    registry: { hold: () => () => undefined, lease },
    meters: { acknowledgedAfter: { record: () => undefined } } as never,
  });
  let keys = 0;
  const open: Port["open"] = (name, account = "web", asks = false) => {
    keys += 1;
    // What is pushed is work.
    const call = Object.assign(new EventEmitter(), {
      write: () => (worked += 2 * AT_ONCE),
    });
    sidecars.open(peer(name, account, String(keys)), call as never, feed);
    const node = { id: name, metadata: {} };
    if (asks) call.emit("data", { ...REQUEST, node, subscribe: ["self"] });
    return () => call.emit("close");
  };
  const calls: Port["calls"] = (source) => {
    let error: { code: status; details: string } | undefined;
    const call = Object.assign(new EventEmitter(), { write: () => true });
    call.on("error", (thrown: GrpcError) => (error = thrown));
    const from = { ...peer("web-1", "web", "copied"), source };
    sidecars.open(from, call as never, feed);
    return { ended: () => error };
  };
  return { sidecars, clock, open, calls };
}

function peer(name: string, serviceAccount: string, key: string): Peer {
  return {
    identity: `spiffe://cluster.local/ns/shop/sa/${serviceAccount}`,
    namespace: "shop",
    serviceAccount,
    ...{ name, key, labels: {}, addresses: [] },
    serial: "A1",
    certificateNotBefore: 0,
    certificateExpiresAt: 0,
    root: "",
    source: "127.0.0.1",
    address: "127.0.0.1:1",
  };
}

void t.test(
  "two hosts with one state directory change places once a minute, and hear why",
  async (t) => {
    const { sidecars, clock, calls } = await port(t);
    const first = calls("10.0.0.1");
    t.equal(sidecars.sidecar("shop", "web-1")?.copy, undefined);
    const second = calls("10.0.0.2");
    t.match(first.ended(), {
      code: status.ABORTED,
      details: /from 10\.0\.0\.2 .*delete the state directory/,
    });
    let takeOvers = 0;
    for (let seconds = 0; seconds < 40; seconds += 1) {
      const again = calls("10.0.0.1");
      t.match(
        again.ended()?.details,
        /shop\/web-1 has a stream from 10\.0\.0\.2/,
      );
      if (second.ended() !== undefined) takeOvers += 1;
      clock.advance(1000);
    }
    t.equal(takeOvers, 0);
    t.match(sidecars.sidecar("shop", "web-1"), {
      copy: "10.0.0.1",
      connected: true,
    });
    const third = calls("10.0.0.2");
    t.ok(second.ended(), "back from the same address");
    t.notOk(third.ended());
    clock.advance(COPY_WAITS);
    const moved = calls("10.0.0.1");
    t.match(third.ended()?.details, /from 10\.0\.0\.1/);
    t.notOk(moved.ended());
    t.equal(sidecars.sidecar("shop", "web-1")?.copy, "10.0.0.2");
  },
);

const MANY = 2000;

void t.test("between slices of many sidecars, others go first", async (t) => {
  const order: string[] = [];
  const { sidecars, clock, open } = await port(t, () => {
    clock.advance(1);
    order.push("sidecar");
    return undefined;
  });
  const nameOf = (index: number): string =>
    `web-${String(index).padStart(4, "0")}`;
  const ends = Array.from({ length: MANY }, (_, index) => open(nameOf(index)));
  const all = sidecars.status();
  setImmediate(() => {
    order.push("another");
    // One that leaves, one that comes, and one that is back, while they are looked at.
    ends.at(-1)?.();
    ends.at(-2)?.();
    open("web-new");
    open(nameOf(MANY - 2));
  });
  const names = (await all).map(({ name }) => name);
  t.ok(order.indexOf("another") < MANY / 2, "not after all of them");
  t.same(names, [...names].sort());
  t.equal(new Set(names).size, names.length, "each once");
  t.equal(names.length, MANY);
  const [back, gone] = (await all).slice(-2);
  t.match(back, { name: nameOf(MANY - 2), connected: true });
  t.match(gone, { name: nameOf(MANY - 1), connected: false });
});

void t.test("one by one, in the order of all", async (t) => {
  const { sidecars, clock, open } = await port(t);
  const names = ["web-10", "web-1", "web", "web.1", "web-2", "api"];
  const [end] = names.map((name) => open(name));
  open("web-1", "other");
  end?.();
  const instances = await sidecars.instances();
  const shown = instances.map((each) => sidecars.shown(each));
  t.same(shown, await sidecars.status());
  t.equal(instances[0], "shop/api spiffe://cluster.local/ns/shop/sa/web");
  t.equal(sidecars.shown("shop/nobody spiffe://x"), undefined);
  clock.advance(3_600_001);
  const left = await sidecars.instances();
  t.same(left, instances, "one that left is not looked at yet");
  t.same(
    left.flatMap((each) => sidecars.shown(each) ?? []),
    await sidecars.status(),
  );
  t.equal((await sidecars.status()).length, names.length);
});

void t.test("those that left are shown for an hour", async (t) => {
  const { sidecars, clock, open } = await port(t);
  const end = open("web-1");
  t.equal(sidecars.connected, 1);
  end();
  t.equal(sidecars.connected, 0);
  t.match(await sidecars.status(), [{ name: "web-1", connected: false }]);
  clock.advance(3_600_000);
  t.equal((await sidecars.status()).length, 1);
  clock.advance(1);
  t.same(await sidecars.status(), []);
});

void t.test("one that is connected, by its name", async (t) => {
  const { sidecars, clock, open } = await port(t, (workload) => ({
    ...{ workload, ready: true, confirmed: true, held: true },
    identity: "spiffe://cluster.local/ns/shop/sa/web",
  }));
  t.equal(sidecars.sidecar("shop", "web-1"), undefined);
  const end = open("web-1");
  clock.advance(1);
  const endOther = open("web-1", "other");
  clock.advance(1);
  const endNewer = open("web-1");
  open("web-10");
  t.match(
    sidecars.sidecar("shop", "web-1"),
    { serviceAccount: "other", lease: undefined },
    "the one whose newest stream is the oldest",
  );
  endOther();
  t.match(sidecars.sidecar("shop", "web-1"), {
    serviceAccount: "web",
    lease: { workload: "shop/web-1", ready: true },
  });
  end();
  t.match(sidecars.sidecar("shop", "web-1"), { connected: true });
  endNewer();
  t.equal(sidecars.sidecar("shop", "web-1"), undefined, "none is connected");
  t.equal(sidecars.sidecar("infra", "web-10"), undefined);
});

void t.test(
  "one that has taken much waits before its stream begins",
  async (t) => {
    const { sidecars, clock, open } = await port(t);
    const end = open("web-1", "web", true);
    t.equal(sidecars.connected, 1);
    end();
    open("web-1");
    open("web-2");
    t.equal(sidecars.connected, 1, "another one does not wait");
    const given = open("web-1");
    given();
    clock.advance(LONGEST_DEBT - 1);
    t.equal(sidecars.connected, 1);
    clock.advance(1);
    t.equal(sidecars.connected, 2, "but for one that has gone");
  },
);
