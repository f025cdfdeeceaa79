/** What the response to a list says where some of it is refused, or all. */
import { ApiError, type Cause } from "../errors.ts";
import type { Fault } from "./list.ts";

/** Causes and warnings that a result has at most, each; the rest are counted. */
export const MOST_TOLD = 500;

/** A message names so many causes; `details` have more. */
const MOST_NAMED = 5;

/** As one: what the token does not allow comes before what another has written, and that before what is wrong in itself. */
export function refusalOf(
  faults: readonly Fault[],
  causes: readonly Cause[],
  count: number,
): ApiError {
  const reasons = new Set(faults.map(({ reason }) => reason));
  const reason = reasons.has("Forbidden")
    ? "Forbidden"
    : reasons.has("Conflict")
      ? "Conflict"
      : "Invalid";
  const named = causes
    .slice(0, MOST_NAMED)
    .map(({ field, message }) => `${field}: ${message}`);
  const more = causes.length - named.length;
  return new ApiError(
    reason,
    `nothing of the list was changed, for ${faults.length} of ${count} resources are refused: ${named.join("; ")}${more > 0 ? `; and ${more} more` : ""}`,
    atMost(causes),
  );
}

export function atMost(causes: readonly Cause[]): readonly Cause[] {
  return causes.length <= MOST_TOLD
    ? causes
    : [
        ...causes.slice(0, MOST_TOLD),
        { field: "", message: `and ${causes.length - MOST_TOLD} more` },
      ];
}
