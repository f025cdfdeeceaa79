/** What a sidecar does when its machine's clock jumps: says so, counts it, and has the agent look again at what goes by dates. */
import type { Agent } from "../agent/agent.ts";
import { watchJumps, type Cancel, type Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import type { Meters } from "../telemetry/meters.ts";

export function followJumps(
  agent: Pick<Agent, "clockJumped">,
  parts: {
    readonly clock: Clock;
    readonly logger: Logger;
    readonly meters: Pick<Meters, "clockJumps">;
  },
): Cancel {
  return watchJumps(parts.clock, (ms) => {
    const direction = ms > 0 ? "forward" : "backward";
    parts.meters.clockJumps.with(direction).add(1);
    parts.logger.warn(
      { milliseconds: Math.round(ms) },
      `this machine's clock has jumped ${direction}`,
    );
    agent.clockJumped();
  });
}
