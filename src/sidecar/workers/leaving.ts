/** Exchanges without an end on a sidecar that leaves. WebSockets get their Close, a few at a time, for all of them come again somewhere else; all others end with the process. */
import type { Cancel, Clock } from "../../core/clock.ts";
import type { Idler, IdleWatcher } from "../../proxy/exchange/time/idle.ts";

/** What is still in flight ends as far as its protocol has words for that: streams of gRPC, and what has no response yet. */
export function departAll({ idlers }: Pick<IdleWatcher, "idlers">): void {
  // A copy: each leaves the list.
  for (const idler of [...idlers]) idler.depart?.();
}

/** Milliseconds between two looks. */
const STEP = 100;
/** So many leave in one step in any case: few are gone at once. */
const LEAST = 5;

export interface LeavingOptions {
  readonly clock: Clock;
  readonly idle: Pick<IdleWatcher, "idlers">;
  /** The side that leaves. */
  readonly callee: boolean;
  /** Milliseconds in which all leave that are there at the beginning. */
  readonly within: number;
}

/** Goes on until it is called off: one whose handshake was on its way opens later. */
export function leaveByAndBy(options: LeavingOptions): Cancel {
  const { clock, idle, callee, within } = options;
  const told = new WeakSet<Idler>();
  const steps = Math.max(1, Math.floor(within / STEP));
  const most = Math.max(LEAST, Math.ceil(idle.idlers.length / steps));
  const step = (): void => {
    let left = most;
    // A copy: one that has ended is in no more.
    for (const idler of [...idle.idlers]) {
      if (left === 0) return;
      if (told.has(idler) || idler.leave?.(callee) !== true) continue;
      told.add(idler);
      left -= 1;
    }
  };
  step();
  return clock.every(STEP, step);
}
