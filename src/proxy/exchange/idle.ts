/** The stream idle time-out and the pace of every exchange from one coarse timer: an exchange marks that it moved, a tick looks who did not. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { Snapshot } from "../../policy/snapshot.ts";

/** Whoever may be idle for too long. */
export interface Idler {
  /** Tick of the last movement; the exchange writes `watcher.tick` here whenever it moves. */
  movedAt: number;
  /** Milliseconds after which it is told; 0 is never. */
  readonly idleLimit: number;
  /** The watcher's own: where it keeps this one. */
  place?: number | undefined;
  idled(): void;
  /** It has not moved for a while, and what it holds is held for nobody else: it may have to make room. */
  readonly holds: boolean;
  /** It is given up, to make room. */
  evicted(): void;
  /** About once a second, `ms` after the last time: whether whoever is waited for is quick enough. */
  paced(ms: number): void;
  /** Policy has changed; an exchange that has no end of its own asks whether it is still allowed. */
  rejudge?(snapshot: Snapshot): void;
}

export interface IdleWatcher {
  /** Grows by one every `IDLE_TICK`. */
  readonly tick: number;
  enter(idler: Idler): void;
  leave(idler: Idler): void;
  readonly active: number;
  /** All who are in, in no order. */
  readonly idlers: readonly Idler[];
  close(): void;
}

/** Milliseconds: the precision of the idle time-out. */
export const IDLE_TICK = 100;
/** Ticks between two looks at everything. */
const FULL_LOOK = 10;

export function watchIdle(clock: Clock): IdleWatcher {
  // An array and each one's place in it, not a Set: one that exchanges enter and leave all the time makes new tables all
  // the time, and a dead one in the old generation keeps every exchange after it alive until the next full collection.
  const idlers: Idler[] = [];
  let stop: Cancel | undefined;
  const watcher = {
    tick: 0,
    idlers,
    get active(): number {
      return idlers.length;
    },
    enter(idler: Idler): void {
      idler.movedAt = watcher.tick;
      idler.place = idlers.push(idler) - 1;
      stop ??= clock.every(IDLE_TICK, sweep);
    },
    leave(idler: Idler): void {
      const { place } = idler;
      if (place === undefined) return;
      idler.place = undefined;
      const last = idlers.pop();
      if (last === undefined || last === idler) return;
      idlers[place] = last;
      last.place = place;
    },
    close(): void {
      stop?.();
      stop = undefined;
      for (const idler of idlers) idler.place = undefined;
      idlers.length = 0;
    },
  };
  function sweep(): void {
    watcher.tick += 1;
    // A full look at all exchanges ten times a second would be felt with thousands of them; once a second is enough for minutes.
    const everything = watcher.tick % FULL_LOOK === 0;
    if (!everything && idlers.length > 1000) return;
    // From the end: where one leaves, the last one takes its place, and that one has been looked at.
    for (let place = idlers.length - 1; place >= 0; place -= 1) {
      const idler = idlers[place];
      if (idler === undefined) continue;
      if (
        idler.idleLimit !== 0 &&
        (watcher.tick - idler.movedAt) * IDLE_TICK > idler.idleLimit
      )
        idler.idled();
      else if (everything) idler.paced(FULL_LOOK * IDLE_TICK);
    }
    if (idlers.length === 0) {
      stop?.();
      stop = undefined;
    }
  }
  return watcher;
}
