/** What a worker records of requests in each direction, by the snapshot of the moment. */
import type { Watch } from "../../core/watch.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import type { Telemetry } from "../../policy/telemetry/telemetry.ts";
import type { Direction } from "../../telemetry/meters.ts";
import {
  requestRules,
  type Environment,
  type RequestRules,
} from "../../telemetry/request-rules.ts";

type Rules = Readonly<Record<Direction, RequestRules>>;

/** Before there is a snapshot, `otherwise` holds. */
export function rulesIn(
  snapshot: Watch<Snapshot | undefined>,
  environment: Environment,
  otherwise: RequestRules,
): (direction: Direction) => RequestRules {
  let known: Telemetry | undefined;
  let rules: Rules = {
    outbound: otherwise,
    inbound: otherwise,
    mirror: otherwise,
  };
  return (direction) => {
    const telemetry = snapshot.value?.telemetry;
    if (telemetry !== undefined && telemetry !== known) {
      known = telemetry;
      const outbound = requestRules(telemetry.outbound, environment);
      const inbound = requestRules(telemetry.inbound, environment);
      rules = { outbound, inbound, mirror: outbound };
    }
    return rules[direction];
  };
}
