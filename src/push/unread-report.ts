/** A report of resources with fields that a sidecar does not know: the first few are named, with their first few fields, and all are counted. */
import type { UnreadReport, UnreadResource } from "./messages.ts";
import { MOST_UNREAD_NAMED } from "./stand-in.ts";

/** Undefined where there are none. `all` has `count` of them. */
export function unreadReport(
  count: number,
  all: Iterable<UnreadResource>,
): UnreadReport | undefined {
  if (count === 0) return undefined;
  const resources: UnreadResource[] = [];
  for (const { resource, fields, instead } of all) {
    const named = fields.slice(0, MOST_UNREAD_NAMED);
    if (
      resources.push({ resource, fields: named, instead }) === MOST_UNREAD_NAMED
    )
      break;
  }
  return { count, resources };
}
