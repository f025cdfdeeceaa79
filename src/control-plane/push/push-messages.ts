/** The messages of one push, each small enough to be held for a sidecar that reads nothing; the last of them has the Revision that closes it. */
import type { SignedBundle } from "../../identity/trust-bundle.ts";
import {
  assembleResponse,
  encodeClosing,
  encodeResource,
  revision,
  signedTrust,
} from "../../push/codec.ts";
import type { Node, Revision } from "../../push/messages.ts";
import {
  NODE,
  PACKED_SINCE,
  RESOURCE_TYPE,
  REVISION_NAME,
  REVISION_TYPE,
  TRUST_NAME,
  TRUST_TYPE,
} from "../../push/names.ts";
import type { Entry, Form } from "./catalogue/item.ts";
import type { Difference } from "./catalogue/scoped-set.ts";
import type { ConfigVersion } from "./status.ts";

/** Bytes that a sidecar makes of the resources in a message. */
const CHUNK = 512 * 1024;
/** Resources of a push that are worth packing. A sidecar that starts with thousands has less to do with plain ones, and waits for them. */
export const MOST_PACKED = 1000;

export interface PushMessage extends Difference {
  /** How its resources travel. */
  readonly form: Form;
  /** The push ends with it. */
  readonly closes: boolean;
}

/** What all messages of a push have in common. */
export interface PushTerms {
  /** Which messages the sidecar can read. */
  readonly form: Form;
  readonly version: ConfigVersion;
  /** Whether an earlier push of the stream has said the store. */
  readonly storeSaid: boolean;
  /** What the Revision says besides; asked when it is sent. */
  readonly closing: () => Pick<Revision, "accepted" | "parted" | "selective">;
}

/** What a sidecar can read, by what it says of itself. */
export function formFor({ metadata }: Node): Form {
  return Number(metadata[NODE.schema]) >= PACKED_SINCE ? "packed" : "plain";
}

/** A packed push ends with its last resources, a plain one with a message of its own. */
export function messagesOf(
  { changed, removed }: Difference,
  form: Form,
): PushMessage[] {
  const ofResources = changed.length > MOST_PACKED ? "plain" : form;
  const parts = [...chunks(changed, removed, ofResources)];
  const last = form === "packed" ? parts.pop() : undefined;
  return [...parts, { ...(last ?? NOTHING), closes: true }];
}

const NOTHING: PushMessage = {
  changed: [],
  removed: [],
  form: "plain",
  closes: true,
};

export function encodeMessage(
  message: PushMessage,
  nonce: string,
  terms: PushTerms,
): Buffer {
  return terms.form === "packed"
    ? packedMessage(message, nonce, terms)
    : plainMessage(message, nonce, terms);
}

/** A signed bundle as the field that `encodeTrust` sends: made once, whatever the number of sidecars. */
export function trustField(serial: number, signed: SignedBundle): Buffer {
  return encodeResource({
    name: TRUST_NAME,
    version: String(serial),
    typeUrl: TRUST_TYPE,
    value: signedTrust.encode(signed),
  });
}

export function encodeTrust(field: Buffer, nonce: string): Buffer {
  return assembleResponse({ typeUrl: TRUST_TYPE, nonce }, [field]);
}

function packedMessage(
  { changed, removed, form, closes }: PushMessage,
  nonce: string,
  { version, storeSaid, closing }: PushTerms,
): Buffer {
  const store = storeSaid ? "" : version.store;
  return assembleResponse({ nonce, removed }, [
    ...changed.map((entry) => entry.encoded(form).field),
    ...(closes ? [encodeClosing({ ...version, ...closing(), store })] : []),
  ]);
}

function plainMessage(
  { changed, removed, form, closes }: PushMessage,
  nonce: string,
  { version, closing }: PushTerms,
): Buffer {
  const systemVersion = String(version.revision);
  if (!closes)
    return assembleResponse(
      { systemVersion, typeUrl: RESOURCE_TYPE, nonce, removed },
      changed.map((entry) => entry.encoded(form).field),
    );
  const value = revision.encode({ ...version, ...closing() });
  return assembleResponse(
    { systemVersion, typeUrl: REVISION_TYPE, nonce, removed: [] },
    [
      encodeResource({
        name: REVISION_NAME,
        version: systemVersion,
        typeUrl: REVISION_TYPE,
        value,
      }),
    ],
  );
}

/** Removals first: a set that shrinks and grows at once is smallest that way. */
function* chunks(
  changed: readonly Entry[],
  removed: readonly string[],
  form: Form,
): Generator<PushMessage> {
  let chunk: Entry[] = [];
  let names = removed;
  let bytes = 0;
  for (const entry of changed) {
    const { size } = entry.encoded(form);
    if (bytes > 0 && bytes + size > CHUNK) {
      yield { changed: chunk, removed: names, form, closes: false };
      chunk = [];
      names = [];
      bytes = 0;
    }
    chunk.push(entry);
    bytes += size;
  }
  if (chunk.length > 0 || names.length > 0)
    yield { changed: chunk, removed: names, form, closes: false };
}
