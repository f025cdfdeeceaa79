/** What a sidecar reports of resources with fields that it does not know. */
import type { UnreadReport, UnreadResource } from "../../push/messages.ts";
import { parseResourceName } from "../../push/names.ts";
import { MOST_UNREAD_NAMED } from "../../push/stand-in.ts";
import { formatKey } from "../../resources/envelope.ts";
import type { ReceivedConfig } from "../staging.ts";

/** Undefined where all was read whole. */
export function reportOf(
  unread: ReceivedConfig["unread"],
): UnreadReport | undefined {
  if (unread === undefined || unread.size === 0) return undefined;
  const resources: UnreadResource[] = [];
  for (const [name, { fields, instead }] of unread) {
    const key = parseResourceName(name);
    const resource = key === undefined ? name : formatKey(key);
    const named = { resource, fields: fields.slice(0, MOST_UNREAD_NAMED) };
    if (resources.push({ ...named, instead }) === MOST_UNREAD_NAMED) break;
  }
  return { count: unread.size, resources };
}
