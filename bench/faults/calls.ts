/** What became of calls: the records that a caller's process writes, and the figures of any stretch of them. */
import { quantile } from "../scale/figures.ts";

export type Method = "GET" | "POST";

/** Of a call that got no part of an answer. */
export const NOBODY = "-";

/** One call. */
export interface CallRecord {
  /** Monotonic milliseconds at which it was due; the same clock in all processes of a machine. */
  readonly due: number;
  /** Milliseconds until its answer was read, or it was known to fail. */
  readonly took: number;
  readonly method: Method;
  /** Whose answer began; NOBODY where none did. */
  readonly by: string;
  /** "" for a call that succeeded. */
  readonly fault: string;
}

export interface CallFigures {
  readonly calls: number;
  readonly failed: number;
  /** Failures by reason. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Milliseconds; NaN where there was no call. */
  readonly p50: number;
  readonly p99: number;
  readonly longest: number;
}

/** A line of the caller's file. */
export function formatRecord(record: CallRecord): string {
  const { due, took, method, by, fault } = record;
  return `${due.toFixed(1)} ${took.toFixed(2)} ${method} ${by} ${fault}\n`;
}

/** Whole lines; what follows the last of them is still being written. */
export function parseRecords(text: string): CallRecord[] {
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => {
      const [due, took, method, by = NOBODY, ...fault] = line.split(" ");
      return {
        due: Number(due),
        took: Number(took),
        method: method === "POST" ? "POST" : "GET",
        by,
        fault: fault.join(" "),
      };
    });
}

export function figuresOf(records: readonly CallRecord[]): CallFigures {
  const sorted = Float64Array.from(records, ({ took }) => took).sort();
  const reasons = new Map<string, number>();
  for (const { fault } of records)
    if (fault !== "") reasons.set(fault, (reasons.get(fault) ?? 0) + 1);
  return {
    calls: records.length,
    failed: [...reasons.values()].reduce((sum, count) => sum + count, 0),
    reasons: Object.fromEntries(reasons),
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    longest: sorted.at(-1) ?? Number.NaN,
  };
}

/** Calls that were due from one moment until another. */
export function between(
  records: readonly CallRecord[],
  from: number,
  until: number,
): CallRecord[] {
  return records.filter(({ due }) => due >= from && due < until);
}

/** Milliseconds from `from` until the last failing call of those that were due since was due; 0 where none failed. */
export function failedUntil(
  records: readonly CallRecord[],
  from: number,
): number {
  let last = from;
  for (const { due, fault } of records)
    if (fault !== "" && due > last) last = due;
  return last - from;
}

/** Milliseconds from `from` until the first call that `name` answered; NaN where none was. */
export function firstAnswerBy(
  records: readonly CallRecord[],
  name: string,
  from: number,
): number {
  let first = Infinity;
  for (const { due, took, by, fault } of records)
    if (by === name && fault === "" && due >= from)
      first = Math.min(first, due + took);
  return first === Infinity ? Number.NaN : first - from;
}
