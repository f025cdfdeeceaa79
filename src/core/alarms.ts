/**
 * Times that something must be over by, nearly all of which are called off before they pass, as a request's time-out is. A timer each
 * would be the dearest thing that a request does with its time-out; here one timer serves all, set for the earliest and left alone
 * when that one is called off: at its end it is looked who is due, and it is set for the earliest of the rest.
 */
import type { Cancel, Clock } from "./clock.ts";

/** Who is told when its time has passed. */
export interface Alarmed {
  /** The alarms' own: monotonic milliseconds, and where they keep it; undefined while none is set. */
  alarmAt: number;
  alarmPlace: number | undefined;
  /** The time has passed; told once. */
  alarm(): void;
}

export interface Alarms {
  /** `at`: monotonic milliseconds. In place of what was set before. */
  set(alarmed: Alarmed, at: number): void;
  /** Nothing where none is set. */
  clear(alarmed: Alarmed): void;
}

/** A look at so many of them costs about a hundredth of a millisecond: it is taken once in a millisecond, of twice as many in two. */
const LOOKED_AT_A_MILLISECOND = 1000;

export function makeAlarms(clock: Clock): Alarms {
  const all: Alarmed[] = [];
  let firesAt = Infinity;
  let cancel: Cancel | undefined;

  function arm(at: number, now: number): void {
    cancel?.();
    firesAt = at;
    cancel = clock.after(Math.max(0, at - now), fire);
  }

  function fire(): void {
    cancel = undefined;
    firesAt = Infinity;
    const now = clock.now();
    let earliest = Infinity;
    // From the end: where one is cleared, the last one takes its place, and that one has been looked at.
    for (let place = all.length - 1; place >= 0; place -= 1) {
      const alarmed = all[place];
      if (alarmed === undefined) continue;
      // Timers may fire a fraction of a millisecond early.
      if (alarmed.alarmAt - now < 1) {
        clear(alarmed);
        alarmed.alarm();
      } else if (alarmed.alarmAt < earliest) earliest = alarmed.alarmAt;
    }
    const next = Math.max(earliest, now + all.length / LOOKED_AT_A_MILLISECOND);
    if (next < firesAt && earliest < Infinity) arm(next, now);
  }

  function clear(alarmed: Alarmed): void {
    const place = alarmed.alarmPlace;
    if (place === undefined) return;
    alarmed.alarmPlace = undefined;
    const last = all.pop();
    if (last === undefined || last === alarmed) return;
    all[place] = last;
    last.alarmPlace = place;
  }

  return {
    set(alarmed, at) {
      alarmed.alarmAt = at;
      alarmed.alarmPlace ??= all.push(alarmed) - 1;
      if (at < firesAt) arm(at, clock.now());
    },
    clear,
  };
}
