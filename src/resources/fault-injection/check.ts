/** What the schema of FaultInjection cannot state: that it does something, and that it ends. */
import { parseTimestamp } from "../../core/clock.ts";
import { durationOf, formatDuration } from "../../core/duration.ts";
import type { WallMs } from "../../core/units.ts";
import type { Resource } from "../envelope.ts";
import type { FaultInjectionResource, FaultInjectionSpec } from "./spec.ts";
import { checkMatch } from "../http-route/check.ts";
import type { Problem } from "../kind.ts";
import { duplicates, error, warning } from "../problems.ts";

/** Milliseconds: a delay that is longer is an outage. */
const LONGEST_DELAY = 3_600_000;
/** Milliseconds that a fault may last from when it is written. */
export const LONGEST_FAULT: number = 24 * 3_600_000;

const KINDS = ["delay", "abort", "reset", "bandwidth"] as const;

export function checkFaultInjection({
  spec,
}: FaultInjectionResource): Problem[] {
  const problems = duplicates(
    spec.targetRefs,
    (ref) => [ref.name, ref.sectionName ?? ""].join("/"),
    (index) => ["spec", "targetRefs", index],
    "the target",
  );
  problems.push(
    ...(spec.matches ?? []).flatMap((match, index) =>
      checkMatch(match, ["spec", "matches", index]),
    ),
    ...checkKinds(spec),
  );
  if (Number.isNaN(parseTimestamp(spec.expiresAt)))
    problems.push(
      error(["spec", "expiresAt"], "is a date that the calendar does not have"),
    );
  return problems;
}

function checkKinds(spec: FaultInjectionSpec): Problem[] {
  const { delay, abort } = spec;
  const problems: Problem[] = [];
  if (KINDS.every((kind) => spec[kind] === undefined))
    problems.push(
      error(["spec"], `does nothing: give it one of ${KINDS.join(", ")}`),
    );
  for (const kind of KINDS)
    if (spec[kind] !== undefined && spec[kind].percentage === undefined)
      problems.push(
        warning(
          ["spec", kind],
          "happens to no request: percentage is 0 where it is left out",
        ),
      );
  if (delay !== undefined) {
    const ms = durationOf(delay.fixedDelay);
    if (ms < 1 || ms > LONGEST_DELAY)
      problems.push(
        error(
          ["spec", "delay", "fixedDelay"],
          `must be from 1ms to ${formatDuration(LONGEST_DELAY)}, not ${delay.fixedDelay}`,
        ),
      );
  }
  if (
    abort !== undefined &&
    (abort.httpStatus === undefined) === (abort.grpcStatus === undefined)
  )
    problems.push(
      error(["spec", "abort"], "needs one of httpStatus and grpcStatus"),
    );
  return problems;
}

/**
 * Whether it ends soon enough, by the clock of the validator: a fault that outlives the day is forgotten by its author.
 * One that is over already is reported as a warning: it does nothing.
 */
export function checkExpiry(resource: Resource, wall: WallMs): Problem[] {
  if (resource.kind !== "FaultInjection") return [];
  const { expiresAt } = resource.spec as FaultInjectionSpec;
  const left = parseTimestamp(expiresAt) - wall;
  if (left > LONGEST_FAULT)
    return [
      error(
        ["spec", "expiresAt"],
        `is more than ${formatDuration(LONGEST_FAULT)} ahead: a fault must end within a day`,
      ),
    ];
  return left > 0
    ? []
    : [warning(["spec", "expiresAt"], "has passed: it injects nothing")];
}
