/** A caller that does nothing wrong and calls evenly: what its 99th percentile is while others attack, beside what it is in quiet. */
import { call, openLoad } from "./call.ts";
import type { LoneSidecar } from "./lone-sidecar.ts";

/** Calls a second, and milliseconds of one window. */
const RATE = 150;
const WINDOW = 1500;
/** Milliseconds: what lies below is the noise of a busy machine of two cores, on which nobody could tell one p99 from another. */
const FLOOR = 5;

export interface Windows {
  /** The 99th percentile of each window, milliseconds. */
  readonly p99: readonly number[];
  /** What callers got instead of 200. */
  readonly failures: readonly string[];
}

export async function callEvenly(
  sidecar: LoneSidecar,
  count: number,
): Promise<Windows> {
  const p99: number[] = [];
  const failures: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const load = openLoad(RATE, () =>
      call(`http://127.0.0.1:${sidecar.published}/`, {
        headers: { host: "orders.shop" },
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, WINDOW));
    const results = await load.stop();
    const times = results.map(({ ms }) => ms).sort((one, two) => one - two);
    p99.push(times[Math.floor(times.length * 0.99)] ?? Infinity);
    for (const { status, text } of results)
      if (status !== 200) failures.push(`${status} ${text}`);
  }
  return { p99, failures };
}

/** Until V8 has compiled what calls need, the first ones are slow. */
export async function warmUp(sidecar: LoneSidecar): Promise<void> {
  await callEvenly(sidecar, 2);
}

/** A window in which the machine did something else says nothing; the median forgets it. */
function median(numbers: readonly number[]): number {
  return (
    [...numbers].sort((one, two) => one - two)[
      Math.floor((numbers.length - 1) / 2)
    ] ?? Infinity
  );
}

/** What the p99 under attack may be: twice the quiet one, of before or after, whichever the machine was busier in. */
function bound(before: Windows, after: Windows): number {
  return 2 * Math.max(FLOOR, median(before.p99), median(after.p99));
}

/** What calls took while others attacked, and right after it. */
export interface Round {
  readonly during: Windows;
  readonly after: Windows;
}

const ROUNDS = 3;

/**
 * The first round in which the caller did not notice the attack, else the last one: a machine that others share may do something else
 * meanwhile, and what is the attack's doing comes every time.
 */
export async function firstFairRound<R extends Round>(
  quiet: Windows,
  round: () => Promise<R>,
): Promise<R> {
  let result = await round();
  for (let count = 1; count < ROUNDS && !isFair(quiet, result); count += 1)
    result = await round();
  return result;
}

/** The p99 under attack is under twice the quiet one. */
export function isFair(quiet: Windows, { during, after }: Round): boolean {
  return median(during.p99) < bound(quiet, after);
}
