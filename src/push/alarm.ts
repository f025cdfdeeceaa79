/** Runs something at a date, however far away, and soon after it where the machine slept through it. */
import type { Cancel, Clock } from "../core/clock.ts";
import type { WallMs } from "../core/units.ts";

/** A minute: how late an alarm may be after a suspended machine wakes, whose monotonic clock stood still. */
const LONGEST_NAP = 60_000;

/** `wall` in milliseconds since the epoch; a date in the past runs soon, never at once. */
export function alarm(clock: Clock, wall: WallMs, run: () => void): Cancel {
  let cancel: Cancel = () => undefined;
  const check = (): void => {
    const left = wall - clock.wall();
    if (left <= 0) run();
    else sleep(left);
  };
  const sleep = (left: number): void => {
    cancel = clock.after(Math.max(0, Math.min(left, LONGEST_NAP)), check);
  };
  sleep(wall - clock.wall());
  return () => cancel();
}
