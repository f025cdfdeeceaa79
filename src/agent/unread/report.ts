/** What a sidecar reports of resources with fields that it does not know. */
import type { UnreadReport, UnreadResource } from "../../push/messages.ts";
import { parseResourceName } from "../../push/names.ts";
import { unreadReport } from "../../push/unread-report.ts";
import { formatKey } from "../../resources/envelope.ts";
import type { ReceivedConfig } from "../staging.ts";

/** Undefined where all was read whole. */
export function reportOf(
  unread: ReceivedConfig["unread"] = new Map(),
): UnreadReport | undefined {
  return unreadReport(unread.size, namedIn(unread));
}

function* namedIn(
  unread: NonNullable<ReceivedConfig["unread"]>,
): Generator<UnreadResource> {
  for (const [name, { fields, instead }] of unread) {
    const key = parseResourceName(name);
    yield {
      resource: key === undefined ? name : formatKey(key),
      fields,
      instead,
    };
  }
}
