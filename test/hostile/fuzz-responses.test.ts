/**
 * The hostile application: random responses in both versions of HTTP, through every listener, to callers of both. The caller gets the one
 * response that a reading by the letter finds in the bytes, or a 502, or one that breaks off; and no connection to the application
 * is used again that has spoken out of turn (law 7). Replay and other seeds: as in fuzz-requests.test.ts.
 */
import t from "tap";
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
