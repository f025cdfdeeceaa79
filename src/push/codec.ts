/** Messages to bytes and back. What a peer sends is read here and nowhere else, so a message past this file has the shape that its type says. */
import protobuf from "protobufjs/light.js";
import type { Steps } from "../core/slices.ts";
import type { Bytes } from "../core/units.ts";
import type { SignedBundle } from "../identity/trust-bundle.ts";
import type {
  DeltaRequest,
  DeltaResource,
  DeltaResponse,
  EnrolRequest,
  IssueResponse,
  Lookup,
  PushedResource,
  RegisterRequest,
  RegisterResponse,
  RenewRequest,
  Observed,
  Outside,
  ReportRequest,
  Revision,
  UnreadReport,
} from "./messages.ts";
import { MOST_OBSERVED, MOST_REPORTED, PACKED_TYPE } from "./names.ts";
import { MOST_UNPACKED, pack, unpack } from "./packing.ts";
import { messageType } from "./schema.ts";
import { INSTEAD, MOST_UNREAD_NAMED } from "./stand-in.ts";

/** Characters of a resource's name, or of a field's path, in a report. */
const LONGEST_NAMED = 400;

/** `decode` throws on bytes that are not that message. */
export interface Codec<T> {
  encode(message: T): Buffer;
  decode(bytes: Uint8Array): T;
}

/** A codec whose messages are flat, of strings, numbers, booleans, bytes and lists of these: fields absent on the wire have their defaults. */
function flat<T extends object>(name: string): Codec<T> {
  const type = messageType(name);
  return {
    encode: (message) => finish(type, message),
    // The schema says which fields there are and of which type; `defaults` fills those that the peer left out.
    decode: (bytes) =>
      type.toObject(type.decode(bytes), {
        defaults: true,
        longs: Number,
      }) as T,
  };
}

/**
 * The same, of at most so many fields, the first of them no longer than `longest`: a field of two bytes could become an object, and a message
 * of some megabytes all of the memory.
 */
function bounded<T>(
  codec: Codec<T>,
  most: number,
  longest: Bytes = Infinity,
): Codec<T> {
  return {
    encode: (message) => codec.encode(message),
    decode(bytes) {
      const reader = protobuf.Reader.create(bytes);
      for (let fields = 1; reader.pos < reader.len; fields += 1) {
        const [tag, from] = [reader.tag(), reader.pos];
        skip(reader, tag);
        if (fields > most) throw new TypeError(`more than ${most} fields`);
        if (tag >>> 3 === 1 && reader.pos - from > longest)
          throw new TypeError(`the first is longer than ${longest} bytes`);
      }
      return codec.decode(bytes);
    },
  };
}

function finish(type: protobuf.Type, message: object): Buffer {
  return Buffer.from(type.encode(type.fromObject({ ...message })).finish());
}

const requestType = messageType("DeltaRequest");
const responseType = messageType("DeltaResponse");
const resourceType = messageType("DiscoveryResource");
const closingType = messageType("Closing");

/** As protobufjs gives it with defaults, arrays and maps filled in. */
interface WireRequest {
  readonly node: {
    readonly id: string;
    readonly metadata: {
      readonly fields: Readonly<Record<string, { readonly string: string }>>;
    } | null;
  } | null;
  readonly typeUrl: string;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: Readonly<Record<string, string>>;
  readonly nonce: string;
  readonly error: { readonly code: number; readonly message: string } | null;
  readonly unreadCount: number;
  readonly unread: readonly {
    readonly resource: string;
    readonly fields: readonly string[];
    readonly instead: string;
  }[];
}

interface WireResource {
  readonly name: string;
  readonly version: string;
  readonly resource: {
    readonly typeUrl: string;
    readonly value: Buffer;
  } | null;
}

const FILLED = {
  defaults: true,
  arrays: true,
  objects: true,
  longs: Number,
} as const;

const unboundedRequest: Codec<DeltaRequest> = {
  encode: ({ node, initialVersions, error, unread, ...rest }) =>
    finish(requestType, {
      ...rest,
      ...(unread === undefined
        ? {}
        : { unreadCount: unread.count, unread: unread.resources }),
      initialVersions: Object.fromEntries(initialVersions),
      ...(error === undefined ? {} : { error }),
      ...(node === undefined
        ? {}
        : {
            node: {
              id: node.id,
              metadata: {
                fields: Object.fromEntries(
                  Object.entries(node.metadata).map(([name, string]) => [
                    name,
                    { string },
                  ]),
                ),
              },
            },
          }),
    }),
  decode(bytes) {
    const wire = requestType.toObject(
      requestType.decode(bytes),
      FILLED,
    ) as WireRequest;
    return {
      node:
        wire.node === null
          ? undefined
          : {
              id: wire.node.id,
              metadata: Object.fromEntries(
                Object.entries(wire.node.metadata?.fields ?? {}).map(
                  ([name, value]) => [name, value.string],
                ),
              ),
            },
      typeUrl: wire.typeUrl,
      subscribe: wire.subscribe,
      unsubscribe: wire.unsubscribe,
      initialVersions: new Map(Object.entries(wire.initialVersions)),
      nonce: wire.nonce,
      error: wire.error ?? undefined,
      ...(wire.unreadCount === 0
        ? {}
        : { unread: reportOf(wire.unreadCount, wire.unread) }),
    };
  },
};

/** Names and versions of tens of thousands of resources have fewer. */
const MOST_FIELDS = 200_000;
/** Bytes; a sidecar says of itself what fits in a few hundred. */
const LONGEST_NODE: Bytes = 65_536;

export const deltaRequest: Codec<DeltaRequest> = bounded(
  unboundedRequest,
  MOST_FIELDS,
  LONGEST_NODE,
);

/** What a peer says is kept and shown: it is cut. */
function reportOf(count: number, unread: WireRequest["unread"]): UnreadReport {
  return {
    count,
    resources: unread.slice(0, MOST_UNREAD_NAMED).map((each) => ({
      resource: each.resource.slice(0, LONGEST_NAMED),
      fields: each.fields
        .slice(0, MOST_UNREAD_NAMED)
        .map((field) => field.slice(0, LONGEST_NAMED)),
      instead: INSTEAD.find((known) => known === each.instead) ?? "nothing",
    })),
  };
}

function received({ name, version, resource }: WireResource): DeltaResource {
  return {
    name,
    version,
    typeUrl: resource?.typeUrl ?? "",
    value: resource?.value ?? Buffer.alloc(0),
  };
}

/** Field 2 of a DeltaDiscoveryResponse, length-delimited. */
const RESOURCE_TAG = 0x12;

/** A removed name, field 6, and the strings of a response that are read. */
const REMOVED_TAG = 0x32;
const TYPE_TAG = 0x22;
const NONCE_TAG = 0x2a;
/** Fields 1001 and 1002, ours, of a response to a sidecar of schema 3: a packed resource, and the Revision that closes the push. */
const PACKED_TAG = (1001 << 3) | 2;
const CLOSING_TAG = (1002 << 3) | 2;
/** Bytes; it has fewer than a hundred. */
const LONGEST_CLOSING: Bytes = 1024;
/** Bits of a tag that say how its field is encoded, and what they are of a group, which proto3 has not: it would be skipped in one go. */
const WIRE_TYPE = 7;
const GROUP = 3;

/** What is said of a response before its parts. */
export interface ResponseHead extends Pick<DeltaResponse, "typeUrl" | "nonce"> {
  /** The push ends with this response. Its store is "" where it is that of the push before on this stream. */
  readonly closing?: Revision;
}

/** A name that is removed, or a resource. */
export type ResponsePart = string | DeltaResource;

/** One step a field: a response of a few megabytes may have any number of them. Throws on bytes that are not a response. */
export function* readHead(bytes: Buffer): Steps<ResponseHead> {
  const reader = protobuf.Reader.create(bytes);
  let typeUrl = "";
  let nonce = "";
  let closing: Revision | undefined;
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === TYPE_TAG) typeUrl = reader.string();
    else if (tag === NONCE_TAG) nonce = reader.string();
    else if (tag === CLOSING_TAG) closing = closingOf(reader.bytes());
    else skip(reader, tag);
    yield;
  }
  return { typeUrl, nonce, ...(closing === undefined ? {} : { closing }) };
}

/** In the order of the bytes, and undefined for each field that is neither. Throws on bytes that are not a response, and on packed ones that become too many. */
export function* readParts(
  bytes: Buffer,
): Generator<ResponsePart | undefined, undefined> {
  const reader = protobuf.Reader.create(bytes);
  let left = MOST_UNPACKED;
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === RESOURCE_TAG) yield resourceOf(reader.bytes());
    else if (tag === REMOVED_TAG) yield reader.string();
    else if (tag === PACKED_TAG) {
      const { json: value, ...named } = unpack(reader.bytes(), left);
      left -= value.length;
      yield { ...named, typeUrl: PACKED_TYPE, value };
    } else {
      skip(reader, tag);
      yield undefined;
    }
  }
}

function skip(reader: protobuf.Reader, tag: number): void {
  const wireType = tag & WIRE_TYPE;
  if (wireType === GROUP) throw new TypeError("a group is not read");
  reader.skipType(wireType, 0, tag >>> 3);
}

function resourceOf(bytes: Uint8Array): DeltaResource {
  return received(
    resourceType.toObject(resourceType.decode(bytes), FILLED) as WireResource,
  );
}

function closingOf(bytes: Uint8Array): Revision {
  if (bytes.length > LONGEST_CLOSING)
    throw new TypeError(`a Revision of ${bytes.length} bytes is too long`);
  const { digest, ...rest } = closingType.toObject(closingType.decode(bytes), {
    defaults: true,
    longs: Number,
    bytes: Buffer,
  }) as Omit<Revision, "digest"> & { readonly digest: Buffer };
  return { ...rest, digest: Buffer.from(digest).toString("hex") };
}

/** One resource as the field of a response that it will be: made once per version, and copied into every response that carries it. */
export function encodeResource(
  resource: DeltaResponse["resources"][number],
): Buffer {
  return field(
    RESOURCE_TAG,
    finish(resourceType, {
      name: resource.name,
      version: resource.version,
      resource: { typeUrl: resource.typeUrl, value: resource.value },
    }),
  );
}

/** The same for a sidecar of schema 3, of the JSON alone: its name and version are in it. */
export function encodePacked(json: Uint8Array): Buffer {
  return field(PACKED_TAG, pack(json));
}

/** The field of a response, to a sidecar of schema 3, that closes the push with it. */
export function encodeClosing(closing: Revision): Buffer {
  const { store, revision: number, digest, accepted, selective } = closing;
  const { branch = "", parted = false } = closing;
  return field(
    CLOSING_TAG,
    finish(closingType, {
      revision: number,
      digest: Buffer.from(digest, "hex"),
      // What is not said is the default.
      store: store || undefined,
      accepted: accepted || undefined,
      selective: selective || undefined,
      branch: branch || undefined,
      parted: parted || undefined,
    }),
  );
}

function field(tag: number, body: Uint8Array): Buffer {
  const head = [...varint(tag), ...varint(body.length)];
  // Memory of its own: a part of a slab that others share would keep all of the slab, ten times as much.
  const whole = Buffer.allocUnsafeSlow(head.length + body.length);
  whole.set(head);
  whole.set(body, head.length);
  return whole;
}

/** The other fields, and after them those that were made ahead: protobuf takes fields in any order. */
export function assembleResponse(
  response: Partial<Omit<DeltaResponse, "resources">>,
  fields: readonly Buffer[],
): Buffer {
  const { systemVersion, typeUrl, nonce, removed } = response;
  return Buffer.concat([
    finish(responseType, {
      systemVersion,
      typeUrl,
      nonce,
      removed,
    }),
    ...fields,
  ]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}

export const pushedResource: Codec<PushedResource> = flat("PushedResource");
export const lookup: Codec<Lookup> = flat("Lookup");
export const revision: Codec<Revision> = flat("Revision");
export const enrolRequest: Codec<EnrolRequest> = flat("EnrolRequest");
export const renewRequest: Codec<RenewRequest> = flat("RenewRequest");
export const issueResponse: Codec<IssueResponse> = flat("IssueResponse");
export const signedTrust: Codec<SignedBundle> = flat("SignedTrust");
export const registerRequest: Codec<RegisterRequest> = flat("RegisterRequest");
export const registerResponse: Codec<RegisterResponse> =
  flat("RegisterResponse");
export const reportRequest: Codec<ReportRequest> = bounded(
  flat("ReportRequest"),
  64 * MOST_REPORTED,
);
/** All rows that a sidecar keeps, and how many calls found no room. */
const MOST_ROWS = MOST_OBSERVED + 1;
export const observed: Codec<Observed> = bounded(flat("Observed"), MOST_ROWS);
export const outside: Codec<Outside> = bounded(flat("Outside"), MOST_ROWS);
/** The sender of Deregister is all that it says. */
export const empty: Codec<Readonly<Record<string, never>>> = flat("Empty");
