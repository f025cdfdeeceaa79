import t from "tap";
import { Subscriptions } from "../../../../src/control-plane/push/asked/subscriptions.ts";
import { MOST_SUBSCRIPTIONS } from "../../../../src/push/interest.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";

function hosts(from: number, count: number): string[] {
  return Array.from(
    { length: count },
    (_, index) => `Host//h${from + index}.example`,
  );
}

void t.test(
  "new names come at a rate, and what is asked for again is none",
  (t) => {
    const clock = fakeClock();
    const subscriptions = new Subscriptions(clock);
    const change = (from: number, count: number, unsubscribe: string[] = []) =>
      subscriptions.apply({ subscribe: hosts(from, count), unsubscribe });
    t.match(change(0, MOST_SUBSCRIPTIONS), {
      add: { length: MOST_SUBSCRIPTIONS },
    });
    t.match(change(0, MOST_SUBSCRIPTIONS), {
      add: { length: MOST_SUBSCRIPTIONS },
    });
    t.match(
      change(
        MOST_SUBSCRIPTIONS,
        MOST_SUBSCRIPTIONS,
        hosts(0, MOST_SUBSCRIPTIONS),
      ),
      { remove: { length: MOST_SUBSCRIPTIONS } },
      "all of them others at once",
    );
    const again = hosts(MOST_SUBSCRIPTIONS, MOST_SUBSCRIPTIONS);
    clock.advance(1000);
    t.match(change(0, 1000, again), { add: { length: 1000 } });
    t.match(change(1000, 1), {
      kind: "many",
      message: "over 1000 new subscriptions a second",
    });
    t.end();
  },
);

void t.test(
  "what was asked for and given back in one turn is not fresh",
  (t) => {
    const subscriptions = new Subscriptions(fakeClock());
    subscriptions.start({
      subscribe: ["self", "Service/shop/a", "Service/shop/b"],
      unsubscribe: [],
    });
    subscriptions.apply({ subscribe: [], unsubscribe: ["Service/shop/a"] });
    t.same(subscriptions.takeFresh(), ["Service/shop/b"]);
    t.same(subscriptions.takeFresh(), []);
    subscriptions.apply({
      subscribe: ["Service/shop/b", "Host//x.example"],
      unsubscribe: [],
    });
    t.same(
      subscriptions.takeFresh(),
      ["Service/shop/b"],
      "each time it is asked for",
    );
    t.end();
  },
);

void t.test("a name in both lists is asked for", (t) => {
  const subscriptions = new Subscriptions(fakeClock());
  subscriptions.start({ subscribe: ["self"], unsubscribe: [] });
  const both = ["Service/shop/a", "Service/shop/b"];
  t.same(subscriptions.apply({ subscribe: both, unsubscribe: both }), {
    add: both,
    remove: [],
  });
  t.same(subscriptions.apply({ subscribe: [], unsubscribe: both }), {
    add: [],
    remove: both,
  });
  t.end();
});
