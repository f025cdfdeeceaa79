/** A few at a time, in the order of their coming. */
import t from "tap";
import {
  SharedTurnstile,
  Turnstile,
} from "../../../src/control-plane/api/turnstile.ts";

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

void t.test("one holder has its share, and no more", async (t) => {
  const turnstile = new SharedTurnstile(3, 2);
  const inside: string[] = [];
  const out: (() => void)[] = [];
  const turn = (): Promise<void> => new Promise((done) => setImmediate(done));
  const come = (holder: string, guest: number): void =>
    void turnstile.enter(holder).then((leave) => {
      inside.push(`${holder}${guest}`);
      out.push(leave);
    });
  for (let guest = 0; guest < 5; guest += 1) come("a", guest);
  await turn();
  t.same(inside, ["a0", "a1"]);
  come("b", 0);
  come("b", 1);
  await turn();
  t.same(inside, ["a0", "a1", "b0"], "another finds room beside it");
  out[0]?.();
  out[0]?.();
  await turn();
  t.same(inside.slice(3), ["b1"], "which waited for all of the room before it");
  for (const leave of out) leave();
  await turn();
  for (const leave of out) leave();
  await turn();
  t.same(inside.slice(4).sort(), ["a2", "a3", "a4"]);
});
