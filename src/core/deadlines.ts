/**
 * Times at which something is due, nearly all of which are called off or put off before they come, as a request's time-out is. A timer
 * each would cost more than anything else that a request does with its time-out; here one timer serves all. It is set for the earliest and
 * left alone when that one is called off: when it fires, whatever is due is called, and it is set for the earliest of the rest.
 */
import { afterArrivals, type Cancel, type Clock } from "./clock.ts";
import type { MonotonicMs } from "./units.ts";

/** Something that is called when its time has come. Its own object is its entry: to set, put off and call off allocates nothing. */
export interface Timed {
  /** The list's own: monotonic milliseconds, Infinity for never, and where the list keeps it; undefined while it is in none. */
  dueAt: number;
  dueSlot: number | undefined;
  /** The time has come, and it is in the list no more. `now`: monotonic milliseconds. */
  due(now: MonotonicMs): void;
}

/**
 * Told in one turn of the event loop at most; the others a little later. What is over may take a tenth of a millisecond to clear away,
 * and hundreds fall due together where one peer opened them together: nobody else must wait for that.
 */
export const MOST_TOLD = 8;

/** Milliseconds by which the timer is late where the event loop stood still: what arrived meanwhile is heard before anything is called. */
const STOOD_STILL = 25;

/** A look at so many of them costs about a hundredth of a millisecond: it is taken once in a millisecond, of twice as many in two. */
const LOOKED_AT_A_MILLISECOND = 1000;

export class Deadlines<T extends Timed = Timed> {
  readonly #clock: Clock;
  // An array and each one's place in it, not a Set: one that requests enter and leave all the time makes new tables all the
  // time, and a dead one in the old generation keeps every request after it alive until the next full collection.
  readonly #members: T[] = [];
  /** Found due and not told yet, from `#next` on; still members, and perhaps put off since. */
  #overdue: T[] = [];
  #next = 0;
  #firesAt = Infinity;
  #cancel: Cancel | undefined;
  /** What arrived while the event loop stood still has been heard. */
  #heard = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** All that are in, in no order. */
  get members(): readonly T[] {
    return this.#members;
  }

  /** `at`: monotonic milliseconds, in place of what was set before; with Infinity it is a member, and never told. */
  set(timed: T, at: number): void {
    timed.dueAt = at;
    timed.dueSlot ??= this.#members.push(timed) - 1;
    if (at < this.#firesAt) this.#arm(at, this.#clock.now());
  }

  /** Nothing where it is not in. */
  clear(timed: T): void {
    const slot = timed.dueSlot;
    if (slot === undefined) return;
    timed.dueSlot = undefined;
    const members = this.#members;
    const last = members.pop();
    if (last === undefined || last === timed) return;
    members[slot] = last;
    last.dueSlot = slot;
  }

  /** As `clear`, of what is over for good: the last to leave takes the timer along. */
  leave(timed: T): void {
    this.clear(timed);
    if (this.#members.length === 0) this.#disarm();
  }

  /** Forgets all, and the timer. */
  close(): void {
    this.#disarm();
    for (const timed of this.#members) timed.dueSlot = undefined;
    this.#members.length = 0;
  }

  #disarm(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#firesAt = Infinity;
    this.#heard = false;
    this.#overdue = [];
    this.#next = 0;
  }

  #arm(at: number, now: MonotonicMs): void {
    this.#cancel?.();
    this.#firesAt = at;
    this.#cancel = this.#clock.after(Math.max(0, at - now), this.#fire);
  }

  readonly #fire = (): void => {
    const now = this.#clock.now();
    if (!this.#heard && now - this.#firesAt > STOOD_STILL) {
      this.#heard = true;
      this.#cancel = afterArrivals(this.#clock, 0, this.#fire);
      return;
    }
    this.#heard = false;
    this.#cancel = undefined;
    this.#firesAt = Infinity;
    const looked = this.#next === this.#overdue.length;
    // What was put off since the look before may be the earliest: a look will tell.
    const earliest = looked ? this.#look(now) : now;
    this.#tell(now);
    const { length } = this.#members;
    if (length === 0) return;
    const next =
      this.#next < this.#overdue.length
        ? now
        : Math.max(earliest, now + length / LOOKED_AT_A_MILLISECOND);
    if (next < this.#firesAt) this.#arm(next, now);
  };

  /** Finds what is due; returns the earliest time of the rest. */
  #look(now: MonotonicMs): number {
    const overdue: T[] = [];
    let earliest = Infinity;
    for (const timed of this.#members)
      // Timers may fire a fraction of a millisecond early.
      if (timed.dueAt - now < 1) overdue.push(timed);
      else if (timed.dueAt < earliest) earliest = timed.dueAt;
    this.#overdue = overdue;
    this.#next = 0;
    return earliest;
  }

  #tell(now: MonotonicMs): void {
    for (let told = 0; told < MOST_TOLD;) {
      const timed = this.#overdue[this.#next];
      if (timed === undefined) break;
      this.#next += 1;
      // It may have been called off or put off meanwhile.
      if (timed.dueSlot === undefined || timed.dueAt - now >= 1) continue;
      told += 1;
      this.clear(timed);
      timed.due(now);
    }
    if (this.#next >= this.#overdue.length) {
      this.#overdue = [];
      this.#next = 0;
    }
  }
}
