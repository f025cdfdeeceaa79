/** The messages of one push, each small enough to be held for a sidecar that reads nothing, and a Revision to close it. */
import {
  assembleResponse,
  encodeResource,
  revision,
} from "../../push/codec.ts";
import type { Revision } from "../../push/messages.ts";
import {
  RESOURCE_TYPE,
  REVISION_NAME,
  REVISION_TYPE,
} from "../../push/names.ts";
import type { Entry } from "./catalogue/item.ts";
import type { Difference } from "./catalogue/scoped-set.ts";
import type { ConfigVersion } from "./status.ts";

/** Bytes of resources in a message. */
const CHUNK = 512 * 1024;

export type PushMessage =
  ({ readonly kind: "resources" } & Difference) | { readonly kind: "revision" };

export function messagesOf({ changed, removed }: Difference): PushMessage[] {
  return [...chunks(changed, removed), { kind: "revision" }];
}

/** `terms`: asked when the message is the Revision. */
export function encodeMessage(
  message: PushMessage,
  nonce: string,
  version: ConfigVersion,
  terms: () => Pick<Revision, "accepted" | "selective">,
): Buffer {
  const systemVersion = String(version.revision);
  if (message.kind === "resources")
    return assembleResponse(
      {
        systemVersion,
        typeUrl: RESOURCE_TYPE,
        nonce,
        removed: message.removed,
      },
      message.changed.map((entry) => entry.encoded()),
    );
  return assembleResponse(
    { systemVersion, typeUrl: REVISION_TYPE, nonce, removed: [] },
    [
      encodeResource({
        name: REVISION_NAME,
        version: systemVersion,
        typeUrl: REVISION_TYPE,
        value: revision.encode({ ...version, ...terms() }),
      }),
    ],
  );
}

/** Removals first: a set that shrinks and grows at once is smallest that way. */
function* chunks(
  changed: readonly Entry[],
  removed: readonly string[],
): Generator<PushMessage> {
  let chunk: Entry[] = [];
  let names = removed;
  let size = 0;
  for (const entry of changed) {
    const length = entry.encoded().length;
    if (size > 0 && size + length > CHUNK) {
      yield { kind: "resources", changed: chunk, removed: names };
      chunk = [];
      names = [];
      size = 0;
    }
    chunk.push(entry);
    size += length;
  }
  if (chunk.length > 0 || names.length > 0)
    yield { kind: "resources", changed: chunk, removed: names };
}
