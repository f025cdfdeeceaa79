/** The exchanges in flight: their deadlines, and by a coarse tick their idle time-out and pace. An exchange marks that it moved, a tick finds those that did not. */
import type { Clock } from "../../../core/clock.ts";
import { Deadlines, type Timed } from "../../../core/deadlines.ts";
import { MeshError } from "../../../mesh/errors.ts";
import type { Snapshot } from "../../../policy/snapshot.ts";

/** What may be idle for too long. */
export interface Idler extends Timed {
  /** Tick of the last movement; the exchange writes `watcher.tick` here whenever it moves. */
  movedAt: number;
  /** Milliseconds after which it is called; 0 is never. */
  readonly idleLimit: number;
  idled(): void;
  /** It has not moved for a while, and what it holds is held for nobody else: it may have to make room. */
  readonly holds: boolean;
  /** It ends, be it to make room. */
  giveUp(error: MeshError): void;
  /** About once a second, `ms` after the last time: whether the awaited side is quick enough. Otherwise it ends, if it may; true where it may not yet. */
  paced(ms: number, mayEnd: boolean): boolean;
  /** Its side of the proxy is on its way out: what would go on for ever ends, where its protocol has a word for that. True where it does. */
  leave?(callee: boolean): boolean | undefined;
  /** Its proxy ends now: what has a word for that left to say says it. What has none may still go on until the end. */
  depart?(): void;
  /** Policy has changed; an exchange that has no end of its own asks whether it is still allowed. */
  rejudge?(snapshot: Snapshot): void;
}

export interface IdleWatcher {
  /** Grows by one every `IDLE_TICK`. */
  readonly tick: number;
  /** `deadline`: monotonic milliseconds at which it is due; Infinity for never. */
  enter(idler: Idler, deadline: number): void;
  /** It is due no more. */
  putOff(idler: Idler): void;
  leave(idler: Idler): void;
  readonly active: number;
  /** All that are in, in no order. */
  readonly idlers: readonly Idler[];
  close(): void;
}

/** Why an exchange ends that did not move for as long as it may: the side that is waited for is at fault. */
export function stoodStill(caller: {
  /** Nothing can move until it sends, or reads. */
  readonly isAwaited: boolean;
  readonly responded: boolean;
}): MeshError {
  const source = caller.isAwaited ? "downstream" : "upstream";
  const begun = source === "upstream" || caller.responded;
  const code = begun ? "IDLE_TIMEOUT" : "REQUEST_STALLED";
  return new MeshError(code, "", { source });
}

/** Milliseconds: the precision of the idle time-out. */
export const IDLE_TICK = 100;
/** Ticks between two looks at everything. */
const FULL_LOOK = 10;
/** Exchanges that end in one look at most, as with `MOST_TOLD` of the deadlines; the others end in the looks after it, which come soon. */
export const MOST_ENDED = 8;
/** Milliseconds until the look after one that left something. */
export const SOON = 2;

/** `ticks`: the list that the ticks are due in; absent: one of its own. */
export function watchIdle(
  clock: Clock,
  ticks: Deadlines = new Deadlines(clock),
): IdleWatcher {
  return new Watcher(clock, ticks);
}

/** A class, since each piece of a request asks for the tick: V8 keeps an object literal that has getters as a dictionary. */
class Watcher implements IdleWatcher {
  tick = 0;
  readonly idlers: readonly Idler[];
  readonly #clock: Clock;
  readonly #exchanges: Deadlines<Idler>;
  readonly #ticks: Deadlines;
  readonly #sweeps: Timed;
  /** Another look at the same tick, while one leaves idle ones to the next. */
  readonly #more: Timed;
  /** Found too slow by the last look at everything, and not ended yet. */
  readonly #slow: Idler[] = [];

  constructor(clock: Clock, ticks: Deadlines) {
    this.#clock = clock;
    this.#ticks = ticks;
    this.#exchanges = new Deadlines<Idler>(clock);
    this.idlers = this.#exchanges.members;
    this.#sweeps = {
      dueAt: 0,
      dueSlot: undefined,
      due: (now) => this.#sweep(now),
    };
    this.#more = {
      dueAt: 0,
      dueSlot: undefined,
      due: () => this.#look(false),
    };
  }

  get active(): number {
    return this.idlers.length;
  }

  enter(idler: Idler, deadline: number): void {
    idler.movedAt = this.tick;
    this.#exchanges.set(idler, deadline);
    if (this.#sweeps.dueSlot === undefined)
      this.#ticks.set(this.#sweeps, this.#clock.now() + IDLE_TICK);
  }

  putOff(idler: Idler): void {
    this.#exchanges.set(idler, Infinity);
  }

  leave(idler: Idler): void {
    this.#exchanges.clear(idler);
  }

  close(): void {
    this.#ticks.clear(this.#sweeps);
    this.#ticks.clear(this.#more);
    this.#exchanges.close();
  }

  #sweep(now: number): void {
    const { idlers } = this;
    this.tick += 1;
    const everything = this.tick % FULL_LOOK === 0;
    // A look at all exchanges ten times a second would be felt with thousands of them; once a second is enough for minutes.
    if (everything || idlers.length <= 1000) this.#look(everything);
    if (idlers.length > 0) this.#ticks.set(this.#sweeps, now + IDLE_TICK);
  }

  #look(everything: boolean): void {
    const { idlers } = this;
    const slow = this.#slow;
    const before = idlers.length;
    const mayEnd = (): boolean => before - idlers.length < MOST_ENDED;
    let unfinished = false;
    if (everything) slow.length = 0;
    // From the end: where one leaves, the last one takes its place, and that one has been looked at.
    for (let place = idlers.length - 1; place >= 0; place -= 1) {
      const idler = idlers[place];
      if (idler === undefined) continue;
      if (this.#isIdle(idler)) {
        if (mayEnd()) idler.idled();
        else unfinished = true;
      } else if (everything && idler.paced(FULL_LOOK * IDLE_TICK, mayEnd()))
        slow.push(idler);
    }
    while (slow.length > 0 && mayEnd()) {
      const idler = slow.pop();
      // It may have left, or have made good for it.
      if (idler?.dueSlot !== undefined) idler.paced(0, true);
    }
    if (unfinished || slow.length > 0)
      this.#ticks.set(this.#more, this.#clock.now() + SOON);
  }

  #isIdle({ idleLimit, movedAt }: Idler): boolean {
    return idleLimit !== 0 && (this.tick - movedAt) * IDLE_TICK > idleLimit;
  }
}
