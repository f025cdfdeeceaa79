import t from "tap";
import {
  Asks,
  NEW_NAME_WAITS,
} from "../../../../src/control-plane/push/asked/asks.ts";
import {
  AT_ONCE,
  Debts,
  LONGEST_DEBT,
  SHARE,
} from "../../../../src/control-plane/push/asked/debts.ts";
import {
  fakeClock,
  type FakeClock,
} from "../../../support/clocks/fake-clock.ts";

const PEER = {
  ...{ namespace: "shop", name: "web-1", source: "10.0.0.1" },
  identity: "spiffe://cluster.local/ns/shop/sa/web",
};

interface Asking {
  readonly clock: FakeClock;
  /** As if the control plane had worked for it for so long. */
  readonly work: (ms: number) => void;
  readonly debts: Debts;
  readonly asks: Asks;
  /** Each time something was taken up: "+NAME" and "-NAME". */
  readonly taken: string[][];
}

function asking(cost: number, room = 10): Asking {
  const clock = fakeClock();
  let worked = 0;
  const debts = new Debts(clock, () => worked);
  const work = (ms: number): void =>
    debts.run(PEER, () => {
      worked += ms;
    });
  const taken: string[][] = [];
  const asks = new Asks({
    ...{ clock, debts, peer: PEER },
    room: () => room,
    take({ subscribe, unsubscribe }) {
      worked += cost;
      taken.push([
        ...subscribe.map((name) => `+${name}`),
        ...unsubscribe.map((name) => `-${name}`),
      ]);
    },
  });
  return { clock, work, debts, asks, taken };
}

const A = "Service/shop/a";
const B = "Service/shop/b";

void t.test("what costs little is taken up at once", (t) => {
  const { asks, taken } = asking(0.01);
  for (let count = 0; count < 1000; count += 1) {
    asks.add({ subscribe: [A], unsubscribe: [] });
    asks.add({ subscribe: ["*"], unsubscribe: [A] });
  }
  t.equal(taken.length, 2000);
  t.same(taken.slice(0, 2), [[`+${A}`], ["+*", `-${A}`]]);
  t.end();
});

void t.test("one that gives back and asks in a loop takes its share", (t) => {
  const { clock, asks, taken } = asking(100);
  for (let count = 0; count < 1000; count += 1) {
    asks.add({ subscribe: [], unsubscribe: [A] });
    clock.advance(1);
  }
  t.equal(taken.length, AT_ONCE / 100 + 1, "what it may take at once");
  taken.length = 0;
  for (let second = 0; second < 60; second += 1) {
    asks.add({ subscribe: ["*"], unsubscribe: [A] });
    clock.advance(500);
    asks.add({ subscribe: [A], unsubscribe: ["*"] });
    clock.advance(500);
  }
  const looks = taken.filter((each) => each.join() !== `+${A}`).length;
  t.ok(looks <= (60_000 * SHARE) / 100 + 1, `${looks} looks at all`);
  t.end();
});

void t.test("in debt, new names wait shortly, and all others longer", (t) => {
  const { clock, work, asks, taken } = asking(1);
  work(AT_ONCE + 250);
  asks.add({ subscribe: [A, "self"], unsubscribe: [B] });
  asks.add({ subscribe: [B], unsubscribe: [] });
  t.same(taken, []);
  clock.advance(NEW_NAME_WAITS);
  t.same(taken, [[`+${A}`, `+${B}`]]);
  asks.add({ subscribe: [], unsubscribe: [A, B] });
  asks.add({ subscribe: [A], unsubscribe: ["self"] });
  clock.advance(NEW_NAME_WAITS);
  t.same(taken.slice(1), [[`+${A}`]], "the last word counts");
  clock.advance(LONGEST_DEBT);
  t.same(taken.slice(2), [["-self", `-${B}`]], "once it may again");
  t.equal(clock.pending, 0);
  t.end();
});

void t.test("another instance owes nothing for it", (t) => {
  const { clock, work, debts } = asking(1);
  work(1e9);
  t.equal(debts.wait(PEER), LONGEST_DEBT);
  t.equal(debts.wait({ ...PEER, name: "web-2" }), 0);
  t.equal(debts.wait({ ...PEER, source: "10.0.0.9" }), 0);
  clock.advance(LONGEST_DEBT);
  t.equal(debts.wait(PEER), 0);
  t.end();
});

void t.test("more than one may ask for is not kept, nor after the end", (t) => {
  const { clock, work, asks, taken } = asking(1);
  work(1e9);
  const unsubscribe = Array.from({ length: 20_000 }, (_, at) => `Host//h${at}`);
  asks.add({ subscribe: [], unsubscribe });
  t.equal(taken[0]?.length, 20_000);
  work(1e9);
  asks.add({ subscribe: [A, "*"], unsubscribe: [] });
  asks.close();
  clock.advance(10 * LONGEST_DEBT);
  t.equal(taken.length, 1);
  t.end();
});

void t.test("what takes the place of another one goes with it", (t) => {
  const { clock, work, asks, taken } = asking(1, 0);
  work(1e9);
  asks.add({ subscribe: [A], unsubscribe: [B] });
  clock.advance(NEW_NAME_WAITS);
  t.same(taken, []);
  clock.advance(LONGEST_DEBT);
  t.same(taken, [[`+${A}`, `-${B}`]]);
  t.end();
});
