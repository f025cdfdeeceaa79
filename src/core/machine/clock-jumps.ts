/** What a process does when its machine's clock jumps: says so, counts it, and has those look again that go by dates. */
import { watchJumps, type Cancel, type Clock } from "../clock.ts";
import type { Logger } from "../log.ts";

export interface JumpParts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** "forward" or "backward" */
  readonly count: (direction: string) => void;
  readonly onJump: () => void;
}

export function followJumps(parts: JumpParts): Cancel {
  const { clock, logger, count, onJump } = parts;
  return watchJumps(clock, (ms) => {
    const direction = ms > 0 ? "forward" : "backward";
    count(direction);
    logger.warn(
      { milliseconds: Math.round(ms) },
      `this machine's clock has jumped ${direction}`,
    );
    onJump();
  });
}
