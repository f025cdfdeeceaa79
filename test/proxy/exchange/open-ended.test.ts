/** Which exchanges hear of a change of policy, and that a change looks at few of them in one turn. */
import t from "tap";
import { watchSource } from "../../../src/core/watch.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import {
  watchIdle,
  type Idler,
} from "../../../src/proxy/exchange/time/idle.ts";
import { judgeOpenEnds } from "../../../src/proxy/exchange/open-ended.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

/** A snapshot that is told from others, and nothing more. */
const numbered = (revision: number): Snapshot =>
  ({ version: { store: "", revision, digest: "" } }) as unknown as Snapshot;

function idler(heard: number[], onJudged?: () => void): Idler {
  return {
    dueAt: 0,
    dueSlot: undefined,
    due: () => undefined,
    movedAt: 0,
    idleLimit: 0,
    holds: false,
    giveUp: () => undefined,
    idled: () => undefined,
    paced: () => false,
    rejudge({ version }) {
      heard.push(version.revision);
      onJudged?.();
    },
  };
}

void t.test("each exchange hears of each change, in slices", (t) => {
  const clock = fakeClock();
  const idle = watchIdle(clock);
  const snapshot = watchSource<Snapshot | undefined>(undefined);
  const age = { changes: 0, current: undefined };
  const stop = judgeOpenEnds(clock, snapshot, watchSource(0), idle, age);
  const all = Array.from({ length: 1000 }, (): number[] => []);
  for (const heard of all) idle.enter(idler(heard), Infinity);
  const count = (): number => all.reduce((sum, it) => sum + it.length, 0);

  snapshot.set(numbered(1));
  t.equal(count(), 256, "no more in one turn (law 16)");
  clock.advance(1);
  t.ok(
    all.every((heard) => heard.join() === "1"),
    "and all in the end, once",
  );
  t.equal(age.changes, 1);

  snapshot.set(numbered(2));
  snapshot.set(numbered(3));
  clock.advance(1);
  t.ok(
    all.every((heard) => heard.at(-1) === 3),
    "the last change is what counts",
  );
  stop();
  snapshot.set(numbered(4));
  clock.advance(1);
  t.ok(all.every((heard) => heard.at(-1) === 3));
  idle.close();
  t.end();
});

void t.test("nobody is left out where others leave on the way", (t) => {
  const clock = fakeClock();
  const idle = watchIdle(clock);
  const snapshot = watchSource<Snapshot | undefined>(undefined);
  const stop = judgeOpenEnds(clock, snapshot, watchSource(0), idle, {
    changes: 0,
    current: undefined,
  });
  const all = Array.from({ length: 1000 }, (): number[] => []);
  const idlers: Idler[] = [];
  for (const [index, heard] of all.entries()) {
    // Each third one is refused, and leaves.
    const own: Idler = idler(heard, () => {
      if (index % 3 === 0) idle.leave(own);
    });
    idlers.push(own);
    idle.enter(own, Infinity);
  }
  snapshot.set(numbered(1));
  // Between two turns others leave of their own accord.
  for (const [index, own] of idlers.entries())
    if (index % 5 === 0) idle.leave(own);
  clock.advance(1);
  const missed = all.filter(
    (heard, index) => index % 5 !== 0 && heard.length === 0,
  );
  t.equal(missed.length, 0);
  stop();
  idle.close();
  t.end();
});

void t.test("changes without a pause keep a change from nobody", (t) => {
  const clock = fakeClock();
  const idle = watchIdle(clock);
  const snapshot = watchSource<Snapshot | undefined>(undefined);
  const age = { changes: 0, current: undefined };
  const stop = judgeOpenEnds(clock, snapshot, watchSource(0), idle, age);
  const all = Array.from({ length: 1000 }, (): number[] => []);
  let revision = 1;
  for (const [index, heard] of all.entries())
    idle.enter(
      // The one that is looked at first brings the next change, before the second turn.
      idler(heard, () => {
        if (index < 999 || revision === 20) return;
        revision += 1;
        const changed = numbered(revision);
        clock.after(0, () => snapshot.set(changed));
      }),
      Infinity,
    );
  snapshot.set(numbered(1));
  clock.advance(1);
  t.ok(
    all.every((heard) => (heard[0] ?? 20) < 5),
    "each hears of a change long before the last one",
  );
  t.ok(
    all.every((heard) => heard.at(-1) === 20),
    "and of the last one",
  );
  stop();
  idle.close();
  t.end();
});
