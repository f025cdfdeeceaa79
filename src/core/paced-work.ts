/** Long work that somebody else can cause without end: in short slices, and once a burst is spent no more than a share of the thread's time. */
import type { Clock } from "./clock.ts";
import { nextTurn, type Steps } from "./slices.ts";

export interface PacedWorkOptions {
  readonly clock: Clock;
  /** Milliseconds of CPU that this thread has spent so far. */
  readonly cpu: () => number;
}

/** Share of the thread's time, for as long as there is work. */
export const WORK_SHARE = 0.1;
/** Milliseconds of CPU that may be spent before that. */
export const WORK_BURST = 3000;
/** What a millisecond of work costs with what it leaves to others: garbage to collect, answers to write, pages to keep. */
const WITH_REST = 3;
/** Share of the thread's time while the burst is spent, and that of its beginning: a usual change has come to its end by then. */
const BURST_SHARE = 0.1;
const FIRST_SHARE = 0.25;
/** Milliseconds of the budget that are such a beginning. */
const FIRST = 300;
/** Milliseconds of work between two turns of the event loop. */
const SLICE = 1;
const SLICE_AT_ONCE = 2;
/** Milliseconds. What takes longer in one go holds up more calls, and costs so much more of the budget: it has to be rarer. */
const LONG = 4;
/** Milliseconds of CPU: no work costs more, however long it held the thread. */
const DEAREST = 10_000;

export class PacedWork {
  readonly #clock: Clock;
  readonly #cpu: () => number;
  /** Milliseconds of CPU that may be spent; below 0 they are owed. */
  #level = WORK_BURST;
  #filledAt: number;
  #paced = false;
  /** Milliseconds of the steps since the last pause. */
  #inSlice = 0;

  constructor({ clock, cpu }: PacedWorkOptions) {
    this.#clock = clock;
    this.#cpu = cpu;
    this.#filledAt = clock.now();
  }

  /** From now on there is something that the work may hold up. */
  begin(): void {
    if (this.#paced) return;
    this.#paced = true;
    this.#level = WORK_BURST;
    this.#filledAt = this.#clock.now();
  }

  /** Runs the work to its end, with what else is run here in turn. Rejects with what it throws. */
  async run<T>(work: Steps<T>): Promise<T> {
    await this.#untilAllowed();
    for (;;) {
      const cpu = this.#cpu();
      const until = this.#clock.now() + (this.#paced ? SLICE : SLICE_AT_ONCE);
      let step = work.next();
      while (step.done !== true && this.#clock.now() < until)
        step = work.next();
      this.spend(this.#cpu() - cpu);
      if (step.done === true) return step.value;
      await this.#pause();
    }
  }

  /**
   * Runs one step of work that comes bit by bit, and counts what it leaves for the same turn as well. It waits for what was spent before,
   * though for no more than `longest` milliseconds: some of what comes is worth nothing later.
   */
  async step(run: () => void, longest: number): Promise<void> {
    if (this.#inSlice >= SLICE) {
      this.#inSlice = 0;
      await this.#pause(longest);
    } else await this.#untilAllowed(longest);
    const from = this.#clock.now();
    const cpu = this.#cpu();
    run();
    await new Promise<void>((resolve) => {
      process.nextTick(resolve);
    });
    this.spend(this.#cpu() - cpu);
    this.#inSlice += this.#clock.now() - from;
  }

  /** So many milliseconds of CPU went into it elsewhere. */
  spend(ms: number): void {
    if (!this.#paced) return;
    this.#fill();
    const cost = ms <= LONG ? ms : Math.min((ms * ms) / LONG, DEAREST);
    this.#level -= cost * WITH_REST;
  }

  async #pause(longest = Infinity): Promise<void> {
    if (!this.#paced) return nextTurn();
    const share = this.#level > WORK_BURST - FIRST ? FIRST_SHARE : BURST_SHARE;
    await this.#wait(SLICE / share - SLICE);
    await this.#untilAllowed(longest);
  }

  async #untilAllowed(longest = Infinity): Promise<void> {
    for (let left = longest; ;) {
      this.#fill();
      if (!this.#paced || this.#level >= 0 || left <= 0) return;
      const ms = Math.min(Math.ceil(-this.#level / WORK_SHARE), left);
      left -= ms;
      await this.#wait(ms);
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(ms, resolve);
    });
  }

  #fill(): void {
    const now = this.#clock.now();
    this.#level = Math.min(
      WORK_BURST,
      this.#level + (now - this.#filledAt) * WORK_SHARE,
    );
    this.#filledAt = now;
  }
}
