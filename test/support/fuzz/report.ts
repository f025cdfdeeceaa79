/** Runs a fuzzer as a test, and says what a person needs: the seed, the counts and their cost, and of each failure how to see it again. */
import type { Test } from "tap";
import type { Failure } from "./fuzzer.ts";
import { SEED, type Bench } from "./run.ts";

/** One case alone, by its number. */
const ONE = process.env["WHERRY_FUZZ_CASE"];
/** More of them say nothing new. */
const MOST_FAILURES = 20;

export async function fuzzed<App>(
  t: Test,
  { fuzzer, target }: Bench<App>,
  messages: number,
): Promise<void> {
  await fuzzer.warmUp();
  if (ONE !== undefined) {
    const { wrong, text } = await fuzzer.replay(Number(ONE));
    t.comment(text);
    t.strictSame(wrong, []);
    return;
  }
  const began = performance.now();
  const own = process.cpuUsage();
  const before = await target.cpu();
  const result = await fuzzer.run(messages, MOST_FAILURES);
  const { user, system } = process.cpuUsage(own);
  const seconds = (microseconds: number): number =>
    Math.round(microseconds / 1e6);
  t.comment(
    `seed ${SEED}: ${result.requests} messages of ${result.cases} cases, ${result.allowed} allowed, ${result.refused} refused, ` +
      `${result.unconfirmed} looked at again; ${Math.round((performance.now() - began) / 1000)} s, ` +
      `CPU ${seconds(user + system)} s here and ${seconds((await target.cpu()) - before)} s in the sidecars`,
  );
  t.strictSame(result.failures.map(told), []);
  // Nothing but rubbish, or nothing but good ones, proves nothing.
  const judged = result.allowed + result.refused;
  for (const share of [result.allowed, result.refused])
    t.ok(share > judged / 5, `${share} of ${judged}`);
}

function told({ index, wrong, text }: Failure): string {
  return `WHERRY_FUZZ_SEED=${SEED} WHERRY_FUZZ_CASE=${index}:\n${wrong.slice(0, 3).join("\n")}\n${text}`;
}
