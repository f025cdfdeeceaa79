/** The first request of a stream: what the sidecar asks for and all that it holds, in several messages where one would be too long. */
import { deltaRequest } from "../push/codec.ts";
import { lookupVersion } from "../push/interest.ts";
import type { DeltaRequest } from "../push/messages.ts";
import {
  LONGEST_REQUEST,
  MOST_STATED,
  NODE,
  statedBytes,
} from "../push/names.ts";
import type { ReceivedConfig } from "./staging.ts";

export interface FirstRequest {
  readonly messages: readonly DeltaRequest[];
  /** Whether it says what is held: where that is too much, all is sent again, as to one that holds nothing. */
  readonly says: boolean;
}

/** Bytes of what is held in each message, where there are several: each leaves others their turn. */
const PART: number = LONGEST_REQUEST / 4;

/** `request`: all but what is held. */
export function firstRequest(
  request: DeltaRequest,
  held: ReceivedConfig,
): FirstRequest {
  const versions = versionsOf(held);
  const whole = { ...request, initialVersions: versions };
  if (deltaRequest.encode(whole).length <= LONGEST_REQUEST)
    return { messages: [whole], says: true };
  const parts = inParts(versions);
  return parts === undefined
    ? { messages: [request], says: false }
    : { messages: [...messagesOf(request, parts)], says: true };
}

function* messagesOf(
  request: DeltaRequest,
  parts: readonly ReadonlyMap<string, string>[],
): Generator<DeltaRequest> {
  const { node, typeUrl } = request;
  const empty = { ...request, node: undefined, subscribe: [] };
  yield {
    ...request,
    node: node && {
      ...node,
      metadata: { ...node.metadata, [NODE.parts]: String(parts.length) },
    },
  };
  for (const initialVersions of parts)
    yield { ...empty, typeUrl, initialVersions };
}

/** Undefined where it is more than a control plane takes. */
function inParts(
  versions: ReadonlyMap<string, string>,
): ReadonlyMap<string, string>[] | undefined {
  const parts: Map<string, string>[] = [];
  let part = new Map<string, string>();
  let bytes = 0;
  let all = 0;
  for (const [name, version] of versions) {
    const more = statedBytes(name, version);
    all += more;
    if (all > MOST_STATED) return undefined;
    if (bytes === 0 || bytes + more > PART) {
      part = new Map();
      parts.push(part);
      bytes = 0;
    }
    bytes += more;
    part.set(name, version);
  }
  return parts;
}

function versionsOf({
  resources,
  lookups,
}: ReceivedConfig): Map<string, string> {
  const versions = new Map<string, string>();
  // What was not read whole is asked for again: this may be a version that knows all of it.
  for (const [name, { version, unread }] of resources)
    versions.set(name, unread === undefined ? version : "");
  for (const [name, { services }] of lookups)
    versions.set(name, lookupVersion(services));
  return versions;
}
