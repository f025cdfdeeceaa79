import t from "tap";
import { afterTurn, beforeWaiting } from "../../src/core/turn.ts";

/** More turns than anything here asks for. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1)
    await new Promise((resolve) => setImmediate(resolve));
}

void t.test(
  "what waits for the end of a turn comes first, with what it asks for in its turn",
  async (t) => {
    const order: string[] = [];
    beforeWaiting(() => order.push("waits"));
    afterTurn(() => {
      order.push("first");
      afterTurn(() => order.push("of the next turn"));
    });
    afterTurn(() => order.push("second"));
    await turns();
    t.same(order, ["first", "second", "of the next turn", "waits"]);
  },
);

void t.test(
  "only the newest runs before waiting, once, and may ask again",
  async (t) => {
    const order: string[] = [];
    beforeWaiting(() => order.push("older"));
    beforeWaiting(() => {
      order.push("newer");
      beforeWaiting(() => order.push("again"));
    });
    await turns();
    t.same(order, ["newer", "again"]);
    await turns();
    t.same(order, ["newer", "again"]);
  },
);

void t.test("each runs once", async (t) => {
  let runs = 0;
  afterTurn(() => (runs += 1));
  await turns();
  afterTurn(() => (runs += 10));
  await turns();
  t.equal(runs, 11);
});
