/** How much longer twice the input takes: about twice as long where the work is linear, four times where it is quadratic (law 15). */

/** More than this, in every try, is no noise. */
const MOST = 3;
/** Less than this needs no second look. */
const CLEAR = 2.3;
const TRIES = 40;
/** Times that all of it is done again before it is believed: a machine that others share may be busy for a second. */
const ROUNDS = 3;
/** Milliseconds for the larger input that nobody notices: quadratic work on so much takes many times as long. */
const LITTLE = 0.2;
/** Milliseconds that one measurement takes at least; short enough to pass mostly undisturbed. */
const LEAST = 2;

/** Milliseconds that `times` runs take. The kernel counts a thread's CPU in steps that are too coarse, so it is time, and the least of several counts. */
function timeOf(work: () => void, times: number): number {
  const before = performance.now();
  for (let run = 0; run < times; run += 1) work();
  return performance.now() - before;
}

export interface Growth {
  /** Milliseconds a run, with the input and with twice the input. */
  readonly once: number;
  readonly twice: number;
  readonly ratio: number;
  readonly linear: boolean;
}

/**
 * Makes the work for an input of `size` and for one of twice the size, and compares what a run of each takes at least. What else the
 * machine does adds to one or the other, so the smallest of several tries counts, and the first fair one ends it.
 */
export function growthOf(
  make: (size: number) => () => void,
  size: number,
): Growth {
  let growth = measured(make, size);
  for (let round = 1; round < ROUNDS && !growth.linear; round += 1)
    growth = measured(make, size);
  return growth;
}

function measured(make: (size: number) => () => void, size: number): Growth {
  const small = make(size);
  const large = make(size * 2);
  let times = 1;
  // Compiled first, and long enough to be measured.
  while (timeOf(small, times) < LEAST && times < 1 << 20) times *= 2;
  const half = Math.ceil(times / 2);
  let once = Number.POSITIVE_INFINITY;
  let twice = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    once = Math.min(once, timeOf(small, times) / times);
    // Half as many runs, to be as likely to pass undisturbed.
    twice = Math.min(twice, timeOf(large, half) / half);
    if (twice < LITTLE || (attempt > 1 && twice / once < CLEAR)) break;
    if (attempt > 4 && twice / once < MOST) break;
  }
  const ratio = twice / once;
  return { once, twice, ratio, linear: twice < LITTLE || ratio < MOST };
}
