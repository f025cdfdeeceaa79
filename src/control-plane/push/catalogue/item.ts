/** One thing that may be pushed, over its versions, and each version of it: encoded once, however many sidecars it goes to. */
import { encodeResource, pushedResource } from "../../../push/codec.ts";
import { digestTerm, RESOURCE_TYPE } from "../../../push/names.ts";
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
  readonly resource: Resource;
  /** Sidecars that should hold the item, and have this version in force. */
  inForce = 0;
  /** Those that have refused this version, and have an older one in force or none. */
  refused = 0;
  readonly #onEncode: () => void;
  #encoded: Buffer | undefined;
  #term: bigint | undefined;

  /** `onEncode` is called once, if ever. */
  constructor(item: Item, resource: Resource, onEncode: () => void) {
    this.item = item;
    this.slot = item.slot;
    this.version = resource.metadata.resourceVersion ?? "";
    this.resource = resource;
    this.#onEncode = onEncode;
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
    if (this.#encoded === undefined) {
      this.#onEncode();
      const json = Buffer.from(JSON.stringify(this.resource));
      this.#encoded = encodeResource({
        name: this.name,
        version: this.version,
        typeUrl: RESOURCE_TYPE,
        value: pushedResource.encode({ ...keyOf(this.resource), json }),
      });
    }
    return this.#encoded;
  }
}
