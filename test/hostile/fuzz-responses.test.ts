/**
 * The hostile application: random responses in both versions of HTTP, through every listener, to callers of both. The caller gets the one
 * response that a reading by the letter finds in the bytes, or a 502, or one that breaks off; and no connection to the application
 * is used again that has spoken out of turn (law 7). Replay and other seeds: as in fuzz-requests.test.ts.
 */
import t from "tap";
import { Pulse, TURNS } from "../support/fuzz/pulse.ts";
import { fuzzed } from "../support/fuzz/report.ts";
import {
  FRAMED_RESPONSES,
  RESPONSES,
  withFramedResponseFuzzer,
  withResponseFuzzer,
} from "../support/fuzz/run.ts";

void t.test("random responses in HTTP/1", { timeout: 400_000 }, async (t) => {
  await withResponseFuzzer(async (bench) => {
    await fuzzed(t, bench, RESPONSES);
    t.strictSame(bench.app.violations, [], "no odd connection is used again");
  });
});

void t.test("random responses in HTTP/2", { timeout: 400_000 }, async (t) => {
  await withFramedResponseFuzzer((bench) => fuzzed(t, bench, FRAMED_RESPONSES));
});

void t.test("a case that waits behind others is not given up", async (t) => {
  let idle = 0;
  let busy = true;
  const over = Promise.withResolvers<undefined>();
  const turns: number[] = [];
  const pulse = new Pulse(
    { idle: () => Promise.resolve((idle += busy ? 0 : 1)) },
    (turn) => {
      turns.push(turn);
      busy = turns.length < 4 * TURNS;
      if (turns.length === 5 * TURNS) over.resolve(undefined);
    },
  );
  t.teardown(() => pulse.stop());
  await over.promise;
  const waited = turns[4 * TURNS - 1] ?? Infinity;
  t.ok(waited < TURNS, `${waited} turns while the target had work left`);
  const rested = (turns.at(-1) ?? 0) - waited;
  t.ok(rested > TURNS / 2, `${rested} while it had none`);
});
