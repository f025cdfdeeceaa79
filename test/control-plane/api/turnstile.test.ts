/** A few at a time, in the order of their coming. */
import t from "tap";
import { Turnstile } from "../../../src/control-plane/api/turnstile.ts";

void t.test(
  "as many as may are in, and each way out lets one in",
  async (t) => {
    const turnstile = new Turnstile(2);
    const inside: number[] = [];
    const out: (() => void)[] = [];
    const turn = (): Promise<void> => new Promise((done) => setImmediate(done));
    for (let guest = 0; guest < 5; guest += 1)
      void turnstile.enter().then((leave) => {
        inside.push(guest);
        out.push(leave);
      });
    await turn();
    t.same(inside, [0, 1]);
    out[1]?.();
    await turn();
    t.same(inside, [0, 1, 2]);
    out[1]?.();
    await turn();
    t.same(inside, [0, 1, 2], "leaving twice makes no room");
    for (const leave of out) leave();
    await turn();
    t.same(inside, [0, 1, 2, 3, 4]);
    for (const leave of out) leave();
    await turn();
    const again = await Promise.all([turnstile.enter(), turnstile.enter()]);
    t.equal(again.length, 2, "all the room is there again");
  },
);
