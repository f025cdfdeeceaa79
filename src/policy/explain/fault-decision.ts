/** The trouble on purpose that a request meets for certain, and the chances of the rest. */
import type { WallMs } from "../../core/units.ts";
import { drawFault, passesBy, type Injection } from "../fault.ts";
import type { RoutedRequest } from "../router/candidate.ts";
import type { Destination } from "../snapshot.ts";
import { decision, sourceOf, type Decision } from "./decision.ts";
import { percent } from "./words.ts";

/** Undefined where no FaultInjection is in this workload's calls to the destination. */
export function faultDecision(
  { faults }: Destination,
  facts: RoutedRequest,
  wall: WallMs,
):
  | { readonly decision: Decision; readonly drawn: Injection | undefined }
  | undefined {
  if (faults === undefined) return undefined;
  const acting = faults.find(
    (fault) => passesBy(fault, facts, wall) === undefined,
  );
  const asked =
    acting === undefined ? faults : faults.slice(0, faults.indexOf(acting));
  const notMatched = asked.map((fault) => ({
    source: sourceOf("FaultInjection", fault.policy),
    why:
      passesBy(fault, facts, wall) === "over"
        ? "it has expired"
        : (fault.matches?.why?.(facts) ?? "it is not for this request"),
  }));
  // A share below all is a matter of chance: what is certain is what befalls every request.
  const drawn = drawFault(faults, facts, wall, () => 1 - Number.EPSILON);
  const chances =
    acting === undefined
      ? []
      : [
          ...chance(acting.delay, (ms) => `waits ${ms} ms`),
          ...chance(acting.abort, ({ status }) => `is answered with ${status}`),
          ...chance(acting.reset, () => "is broken off"),
          ...chance(acting.bandwidth, (rate) => `is slowed to ${rate} B/s`),
        ];
  const ends =
    drawn !== undefined && (drawn.abort !== undefined || drawn.reset);
  return {
    drawn,
    decision: decision(
      "caller",
      "fault",
      acting === undefined ? "none is injected" : "trouble on purpose",
      {
        ...(acting === undefined
          ? {}
          : { source: sourceOf("FaultInjection", acting.policy) }),
        details: chances,
        notMatched,
        ...(ends
          ? { refusal: { code: "FAULT_INJECTED", policy: drawn.policy } }
          : {}),
      },
    ),
  };
}

function chance<T>(
  block: { readonly share: number; readonly value: T } | undefined,
  words: (value: T) => string,
): string[] {
  return block === undefined
    ? []
    : [`${percent(block.share)} of the requests: each ${words(block.value)}`];
}
