/** The stream idle time-out of every exchange from one coarse timer: an exchange marks that it moved, a tick looks who did not. */
import type { Cancel, Clock } from "../core/clock.ts";

/** Whoever may be idle for too long. */
export interface Idler {
  /** Tick of the last movement; the exchange writes `watcher.tick` here whenever it moves. */
  movedAt: number;
  /** Milliseconds after which it is told; 0 is never. */
  readonly idleLimit: number;
  idled(): void;
}

export interface IdleWatcher {
  /** Grows by one every `IDLE_TICK`. */
  readonly tick: number;
  enter(idler: Idler): void;
  leave(idler: Idler): void;
  readonly active: number;
  close(): void;
}

/** Milliseconds: the precision of the idle time-out. */
export const IDLE_TICK = 100;

export function watchIdle(clock: Clock): IdleWatcher {
  const idlers = new Set<Idler>();
  let stop: Cancel | undefined;
  const watcher = {
    tick: 0,
    get active(): number {
      return idlers.size;
    },
    enter(idler: Idler): void {
      idler.movedAt = watcher.tick;
      idlers.add(idler);
      stop ??= clock.every(IDLE_TICK, sweep);
    },
    leave(idler: Idler): void {
      idlers.delete(idler);
    },
    close(): void {
      stop?.();
      stop = undefined;
      idlers.clear();
    },
  };
  function sweep(): void {
    watcher.tick += 1;
    // A full look at all exchanges ten times a second would be felt with thousands of them; once a second is enough for minutes.
    const everything = watcher.tick % 10 === 0;
    if (!everything && idlers.size > 1000) return;
    for (const idler of idlers) {
      const { idleLimit } = idler;
      if (idleLimit === 0) continue;
      if ((watcher.tick - idler.movedAt) * IDLE_TICK > idleLimit) idler.idled();
    }
    if (idlers.size === 0) {
      stop?.();
      stop = undefined;
    }
  }
  return watcher;
}
