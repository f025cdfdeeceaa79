/** A replica of a service: some slots, a queue before them, and everything that can go wrong with it. */
import type { Cancel, Clock } from "../../src/core/clock.ts";
import { LoadMeter } from "../../src/policy/balance/load-report.ts";

/** One piece of work; `finished` is called once, unless it was taken back before. */
export interface Work {
  /** Milliseconds that it takes one slot at speed 1. */
  readonly demand: number;
  finished(failed: boolean): void;
}

interface Running {
  readonly job: Job;
  /** Milliseconds of work that are left, as of `since`. */
  left: number;
  since: number;
  cancel: Cancel;
}

interface Job {
  readonly work: Work;
  readonly arrivedAt: number;
  readonly bucket: number;
}

export class Replica {
  /** What its sidecar would report. */
  readonly meter: LoadMeter;
  /** Share of answers that are errors. */
  failing = 0;
  /** Everything is refused at once. */
  hole = false;
  served = 0;
  readonly #clock: Clock;
  readonly #chance: () => number;
  readonly #slots: number;
  #speed = 1;
  #paused = false;
  readonly #running = new Set<Running>();
  readonly #queue: Job[] = [];

  constructor(clock: Clock, slots: number, chance: () => number) {
    this.#clock = clock;
    this.#slots = slots;
    this.#chance = chance;
    this.meter = new LoadMeter(clock.now());
  }

  take(work: Work): void {
    this.served += 1;
    const job: Job = {
      work,
      arrivedAt: this.#clock.now(),
      bucket: this.meter.arrive(),
    };
    if (this.hole) this.#clock.after(1, () => this.#end(job, true));
    else if (this.#running.size < this.#slots) this.#start(job);
    else this.#queue.push(job);
  }

  /** The caller has given up. What waits is dropped; what runs goes on, as most applications do. */
  drop(work: Work): void {
    const index = this.#queue.findIndex((job) => job.work === work);
    const [job] = index < 0 ? [] : this.#queue.splice(index, 1);
    if (job !== undefined)
      this.meter.leave(job.bucket, undefined, this.#clock.now());
  }

  set speed(speed: number) {
    this.#settle();
    this.#speed = speed;
    this.#plan();
  }

  /** Nothing moves for so many milliseconds. */
  pause(ms: number): void {
    if (this.#paused) return;
    this.#settle();
    this.#paused = true;
    this.#plan();
    this.#clock.after(ms, () => {
      this.#settle();
      this.#paused = false;
      this.#plan();
    });
  }

  get #pace(): number {
    return this.#paused ? 0 : this.#speed;
  }

  #start(job: Job): void {
    const running: Running = {
      job,
      left: job.work.demand,
      since: this.#clock.now(),
      cancel: nothing,
    };
    this.#running.add(running);
    this.#planOne(running);
  }

  #settle(): void {
    const now = this.#clock.now();
    for (const running of this.#running) {
      running.left -= (now - running.since) * this.#pace;
      running.since = now;
    }
  }

  #plan(): void {
    for (const running of this.#running) this.#planOne(running);
  }

  #planOne(running: Running): void {
    running.cancel();
    running.cancel =
      this.#pace === 0
        ? nothing
        : this.#clock.after(running.left / this.#pace, () => {
            this.#running.delete(running);
            const next = this.#queue.shift();
            if (next !== undefined) this.#start(next);
            this.#end(running.job, this.#chance() < this.failing);
          });
  }

  #end(job: Job, failed: boolean): void {
    const now = this.#clock.now();
    this.meter.leave(job.bucket, now - job.arrivedAt, now);
    job.work.finished(failed);
  }
}

function nothing(): void {
  // There is no event to call off.
}
