/** One thing that may be pushed, over its versions, and each version of it: encoded once, however many sidecars it goes to. */
import type { Bytes } from "../../../core/units.ts";
import {
  encodePacked,
  encodeResource,
  lookup,
  pushedResource,
} from "../../../push/codec.ts";
import { lookupVersion } from "../../../push/interest.ts";
import type { DeltaResource } from "../../../push/messages.ts";
import { digestTerm, LOOKUP_TYPE, RESOURCE_TYPE } from "../../../push/names.ts";
import { LONGEST_PACKED } from "../../../push/packing.ts";
import { keyOf, type Resource } from "../../../resources/envelope.ts";

/** What has one name, as long as the catalogue has it. */
export class Item {
  readonly name: string;
  /** Unique in the catalogue. */
  readonly slot: number;
  /** The newest version; undefined once it is gone. */
  entry: Entry | undefined;
  /** Sidecars that should hold it. */
  wanted = 0;

  constructor(name: string, slot: number) {
    this.name = name;
    this.slot = slot;
  }

  get resource(): Resource | undefined {
    return this.entry?.resource;
  }
}

/** One version. */
export class Entry {
  readonly item: Item;
  readonly slot: number;
  readonly version: string;
  /** Undefined of an answer to a question. */
  readonly resource: Resource | undefined;
  /** The entry of which this has what an older sidecar can read, and which means the same to it. Itself where there is none. */
  readonly whole: Entry;
  /** Sidecars from which it is withheld. */
  withheld = 0;
  /** Sidecars that should hold the item, and have this version in force. */
  inForce = 0;
  /** Those that have refused this version, and have an older one in force or none. */
  refused = 0;
  readonly #encode: (form: Form) => Encoded;
  #plain: Encoded | undefined;
  #packed: Encoded | undefined;
  #term: bigint | undefined;

  /** `encode` is called once a form, if ever. */
  constructor(
    item: Item,
    version: string,
    resource: Resource | undefined,
    encode: (form: Form) => Encoded,
    whole?: Entry,
  ) {
    this.item = item;
    this.whole = whole ?? this;
    this.slot = item.slot;
    this.version = version;
    this.resource = resource;
    this.#encode = encode;
  }

  get name(): string {
    return this.item.name;
  }

  /** What it adds to the digest of a set. */
  get term(): bigint {
    return (this.#term ??= digestTerm(this.name, this.version));
  }

  /** Made at the first call, the same ever after. */
  encoded(form: Form): Encoded {
    return form === "packed"
      ? (this.#packed ??= this.#encode(form))
      : (this.#plain ??= this.#encode(form));
  }
}

/** How resources travel: to a sidecar of schema 3 packed, to an older one as Envoy has them. */
export type Form = "plain" | "packed";

export interface Encoded {
  /** The field of a response that it is. */
  readonly field: Buffer;
  /** Bytes that the sidecar makes of it. */
  readonly size: Bytes;
}

/** `onEncode` is called once a form, if ever. `whole`: as in Entry. */
export function resourceEntry(
  item: Item,
  resource: Resource,
  onEncode: () => void,
  whole?: Entry,
): Entry {
  const version = resource.metadata.resourceVersion ?? "";
  const encode = (form: Form): Encoded => {
    onEncode();
    const json = Buffer.from(JSON.stringify(resource));
    if (form === "packed" && json.length <= LONGEST_PACKED)
      return { field: encodePacked(json), size: json.length };
    const value = pushedResource.encode({ ...keyOf(resource), json });
    const { name } = item;
    return plain({ name, version, typeUrl: RESOURCE_TYPE, value });
  };
  return new Entry(item, version, resource, encode, whole);
}

/** A version that a sidecar says to hold, and that it is to keep: it is sent to nobody. */
export function heldEntry(item: Item, version: string): Entry {
  return new Entry(item, version, undefined, () => {
    throw new Error(`${item.name} of version ${version} cannot be sent`);
  });
}

/** The answer to a question: the Services that a host or an address leads to. */
export function lookupEntry(item: Item, services: readonly string[]): Entry {
  const version = lookupVersion(services);
  return new Entry(item, version, undefined, () => {
    const value = lookup.encode({ services });
    return plain({ name: item.name, version, typeUrl: LOOKUP_TYPE, value });
  });
}

function plain(resource: DeltaResource): Encoded {
  const field = encodeResource(resource);
  return { field, size: field.length };
}
