/** One thing that may be pushed, over its versions, and each version of it: encoded once, however many sidecars it goes to. */
import { encodeResource, lookup, pushedResource } from "../../../push/codec.ts";
import { lookupVersion } from "../../../push/interest.ts";
import { digestTerm, LOOKUP_TYPE, RESOURCE_TYPE } from "../../../push/names.ts";
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
  /** Sidecars that should hold the item, and have this version in force. */
  inForce = 0;
  /** Those that have refused this version, and have an older one in force or none. */
  refused = 0;
  readonly #content: () => Content;
  #encoded: Buffer | undefined;
  #term: bigint | undefined;

  /** `content` is called once, if ever. */
  constructor(
    item: Item,
    version: string,
    resource: Resource | undefined,
    content: () => Content,
  ) {
    this.item = item;
    this.slot = item.slot;
    this.version = version;
    this.resource = resource;
    this.#content = content;
  }

  get name(): string {
    return this.item.name;
  }

  /** What it adds to the digest of a set. */
  get term(): bigint {
    return (this.#term ??= digestTerm(this.name, this.version));
  }

  /** As the field of a response that it will be; made at the first call, the same buffer ever after. */
  encoded(): Buffer {
    return (this.#encoded ??= encodeResource({
      name: this.name,
      version: this.version,
      ...this.#content(),
    }));
  }
}

/** What travels in the envelope of a resource. */
interface Content {
  readonly typeUrl: string;
  readonly value: Buffer;
}

/** `onEncode` is called once, if ever. */
export function resourceEntry(
  item: Item,
  resource: Resource,
  onEncode: () => void,
): Entry {
  const version = resource.metadata.resourceVersion ?? "";
  return new Entry(item, version, resource, () => {
    onEncode();
    const json = Buffer.from(JSON.stringify(resource));
    const value = pushedResource.encode({ ...keyOf(resource), json });
    return { typeUrl: RESOURCE_TYPE, value };
  });
}

/** The answer to a question: the Services that a host or an address leads to. */
export function lookupEntry(item: Item, services: readonly string[]): Entry {
  return new Entry(item, lookupVersion(services), undefined, () => ({
    typeUrl: LOOKUP_TYPE,
    value: lookup.encode({ services }),
  }));
}
