/** Reads what tap prints: how many assertions passed, which failed and why. */

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const NOTHING: Counts = { passed: 0, failed: 0, skipped: 0 };

/** Most lines of failures that are shown of one text: enough to see the first causes. */
const MOST_LINES = 100;

export function sum(one: Counts, other: Counts): Counts {
  return {
    passed: one.passed + other.passed,
    failed: one.failed + other.failed,
    skipped: one.skipped + other.skipped,
  };
}

/** "12 passed, 1 failed, 2 skipped"; what did not happen is left out, but for "passed". */
export function format({ passed, failed, skipped }: Counts): string {
  return [
    `${passed} passed`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(skipped > 0 ? [`${skipped} skipped`] : []),
  ].join(", ");
}

/** The totals that tap writes at the end; undefined where the text ends before them. */
export function totals(text: string): Counts | undefined {
  const line = [...text.matchAll(/^# \{ (.*) \}$/gm)].at(-1)?.[1];
  if (line === undefined) return undefined;
  const count = (word: string): number =>
    Number(new RegExp(`${word}: (\\d+)`).exec(line)?.[1] ?? 0);
  return {
    passed: count("pass"),
    failed: count("fail"),
    skipped: count("skip") + count("todo"),
  };
}

/** The failed assertions, each with what tap says of it. */
export function failures(text: string): string {
  const lines = text.split("\n");
  const shown: string[] = [];
  let inDetail = false;
  for (const [index, line] of lines.entries()) {
    if (shown.length >= MOST_LINES) break;
    const failed = /^\s*not ok /.test(line);
    if (failed) inDetail = /^\s*---$/.test(lines[index + 1] ?? "");
    if (failed || inDetail) shown.push(line);
    if (/^\s*\.\.\.$/.test(line)) inDetail = false;
  }
  return shown.length === 0 ? "" : `${shown.join("\n")}\n`;
}

/** The seed that a failed fuzzer names, as "WHERRY_FUZZ_SEED=12" or "seed 12". */
export function seedIn(detail: string): string | undefined {
  return /(?:WHERRY_FUZZ_SEED=|\bseed )(\d+)/.exec(detail)?.[1];
}
