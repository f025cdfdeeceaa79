/** What one call of a function takes, too short for a clock: many calls are timed together. */
import { performance } from "node:perf_hooks";

/** A step that is measured. */
export interface CostRow {
  readonly name: string;
  /** Nanoseconds that its median should not be over, where the project holds itself to a figure. */
  readonly atMost?: number;
  /** Prepares the step; what it gives is called again and again, with the numbers from 0 on. */
  readonly open: () =>
    | ((turn: number) => unknown)
    | Promise<(turn: number) => unknown>;
}

export interface Cost {
  /** Nanoseconds a call: the median of the batches, and the slowest but one in a hundred. */
  readonly p50: number;
  readonly p99: number;
}

const BATCHES = 1000;
/** Milliseconds that a batch takes: less than what the scheduler gives at a time, so that most of them are not interrupted. */
const BATCH = 0.1;
const WARM_UP = 200;

/** `call` is given the numbers from 0 on, to ask something else each time. */
export function costOf(call: (turn: number) => unknown): Cost {
  let turn = 0;
  const run = (times: number): number => {
    const began = performance.now();
    for (let done = 0; done < times; done += 1) call((turn += 1));
    return performance.now() - began;
  };
  let spent = 0;
  while (spent < WARM_UP) spent += run(64);
  const size = Math.max(1, Math.ceil((BATCH * turn) / spent));
  const batches = Array.from(
    { length: BATCHES },
    () => (run(size) * 1e6) / size,
  ).sort((left, right) => left - right);
  const at = (share: number): number =>
    batches[Math.floor(share * (BATCHES - 1))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}
