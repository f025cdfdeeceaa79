/** The config that a control plane has sent so far, beside the one in force: taken or refused as a whole when a Revision closes the push. */
import { messageOf } from "../core/errors.ts";
import type { Bytes } from "../core/units.ts";
import type { Steps } from "../core/slices.ts";
import { lookup, type ResponsePart } from "../push/codec.ts";
import { isQuestion, lookupVersion, parseInterest } from "../push/interest.ts";
import type { DeltaResource, Lookup, Revision } from "../push/messages.ts";
import {
  digestSum,
  digestTerm,
  formatDigest,
  LOOKUP_TYPE,
  PACKED_TYPE,
  RESOURCE_TYPE,
} from "../push/names.ts";
import type { Unread } from "../push/stand-in.ts";
import type { Resource } from "../resources/envelope.ts";
import { readResource } from "./unread/read-resource.ts";

/** One resource as it was received. */
export interface ReceivedResource {
  readonly version: string;
  readonly resource: Resource;
  /** On the wire, unpacked. */
  readonly bytes: number;
  /** It has fields that this version does not know: `resource` acts in its place. */
  readonly unread?: Unread;
}

export type ReceivedResources = ReadonlyMap<string, ReceivedResource>;

/** What a question leads to, by the question's name. */
export type ReceivedLookups = ReadonlyMap<string, Lookup>;

type Content =
  /** Where it is unread there may be nothing to act on. */
  | { readonly resource: Resource | undefined; readonly unread?: Unread }
  | { readonly lookup: Lookup }
  | { readonly fault: string }
  /** As it came: it is read once its push is whole. */
  | { readonly received: DeltaResource; readonly older: Resource | undefined };

interface Staged {
  readonly version: string;
  readonly bytes: number;
  readonly content: Content;
}

export interface ReceivedConfig {
  readonly resources: ReceivedResources;
  readonly lookups: ReceivedLookups;
  /** Resources with fields that this version does not know, by name; absent where there are none. */
  readonly unread?: ReadonlyMap<string, Unread>;
}

export type Sealed =
  | ({ readonly kind: "resources" } & ReceivedConfig)
  | { readonly kind: "refused"; readonly reason: string }
  /** What was over the limit was not kept: only a new stream, which says what is held, can bring it. */
  | { readonly kind: "incomplete" };

export interface Staging {
  /** Takes the parts of a message of type Resource, a step each. What is wrong with a part comes out when the push is sealed; what the parts throw is thrown. */
  stage(parts: Iterable<ResponsePart | undefined>): Steps<void>;
  /** Why nothing that follows can make it a config; undefined where it may still become one. */
  readonly hopeless: string | undefined;
  /** Whether what is staged is what the Revision says, readable, valid and within the limit. */
  seal(revision: Revision): Steps<Sealed>;
}

/** Bytes: what any resource counts for at least. */
const LEAST_SIZE = 128;
/** Characters of what is said of a resource: it says again what a control plane sent. */
const LONGEST_FAULT = 500;
/** Times the limit: nobody waits for the end of such a config. */
const HOPELESS = 4;

/** Starts from what is in force. */
export function makeStaging(
  inForce: ReceivedConfig,
  maxConfigBytes: Bytes,
): Staging {
  return new StagedConfig(inForce, maxConfigBytes);
}

/** What a push costs to stage and to compare is what it changes. */
class StagedConfig implements Staging {
  readonly #maxConfigBytes: Bytes;
  readonly #staged = new Map<string, Staged>();
  /** As they were sealed last; the same objects as long as nothing in them changes. */
  #resources: ReceivedResources;
  #lookups: ReceivedLookups;
  /** What was sealed last is not what is staged. */
  #changed = { resources: false, lookups: false };
  /** Names of what came and is not read yet. */
  readonly #waiting = new Set<string>();
  readonly #unread = new Map<string, Unread>();
  #sum = 0n;
  #bytes = 0;
  #faults = 0;
  #overflow = false;
  /** The first Revision after an overflow is refused with the reason; a later one cannot be judged. */
  #dropped = false;

  constructor({ resources, lookups }: ReceivedConfig, maxConfigBytes: Bytes) {
    this.#maxConfigBytes = maxConfigBytes;
    for (const [name, { version, bytes, ...content }] of resources)
      this.#put(name, { version, bytes, content });
    for (const [name, lookup] of lookups) {
      const version = lookupVersion(lookup.services);
      this.#put(name, { version, bytes: version.length, content: { lookup } });
    }
    this.#resources = resources;
    this.#lookups = lookups;
    this.#changed = { resources: false, lookups: false };
  }

  get hopeless(): string | undefined {
    return this.#bytes > this.#maxConfigBytes * HOPELESS
      ? this.#tooLarge()
      : undefined;
  }

  *stage(parts: Iterable<ResponsePart | undefined>): Steps<void> {
    for (const part of parts) {
      if (typeof part === "string") this.#forget(part);
      else if (part !== undefined) this.#receive(part);
      yield;
    }
  }

  #receive({ name, version, typeUrl, value }: DeltaResource): void {
    const older = olderIn(this.#staged.get(name));
    this.#forget(name);
    const bytes = value.length;
    const size = sizeOf(name, { version, bytes });
    if (this.#bytes + size > this.#maxConfigBytes) this.#overflow = true;
    // Over the limit nothing is kept; how much came is counted for the message.
    if (this.#overflow) this.#bytes += size;
    else {
      const received = { name, version, typeUrl, value: ownCopy(value) };
      this.#put(name, { version, bytes, content: { received, older } });
    }
  }

  #tooLarge(): string {
    return `the config has ${this.#bytes} bytes or more, and this sidecar takes ${this.#maxConfigBytes} at most: narrow exportTo, or raise --max-config-bytes`;
  }

  *seal(revision: Revision): Steps<Sealed> {
    if (this.#dropped) return { kind: "incomplete" };
    if (this.#overflow) {
      this.#dropped = true;
      return refused(this.#tooLarge());
    }
    const digest = formatDigest(this.#sum);
    if (digest !== revision.digest)
      return refused(
        `the digest of the ${this.#staged.size} resources received is ${digest}, and the revision says ${revision.digest}: the push was incomplete`,
      );
    yield* this.#readAll();
    if (this.#faults > 0) return refused(this.#someFaults());
    if (this.#changed.resources)
      this.#resources = yield* this.#stagedResources();
    if (this.#changed.lookups) this.#lookups = yield* this.#stagedLookups();
    this.#changed = { resources: false, lookups: false };
    return {
      kind: "resources",
      resources: this.#resources,
      lookups: this.#lookups,
      ...(this.#unread.size === 0 ? {} : { unread: new Map(this.#unread) }),
    };
  }

  /** What a control plane never completes costs no more than to keep it. */
  *#readAll(): Steps<void> {
    for (const name of this.#waiting) {
      const staged = this.#staged.get(name);
      if (staged !== undefined && "received" in staged.content) {
        const { received, older } = staged.content;
        const content = bounded(yield* read(received, older));
        this.#countContent(name, staged.content, -1);
        this.#staged.set(name, { ...staged, content });
        this.#countContent(name, content, 1);
      }
      yield;
    }
  }

  #put(name: string, staged: Staged): void {
    this.#staged.set(name, staged);
    this.#count(name, staged, 1);
  }

  #forget(name: string): void {
    const staged = this.#staged.get(name);
    if (staged === undefined) return;
    this.#staged.delete(name);
    this.#count(name, staged, -1);
  }

  #count(name: string, staged: Staged, sign: 1 | -1): void {
    this.#bytes += sign * sizeOf(name, staged);
    const term = digestTerm(name, staged.version);
    this.#sum = digestSum(this.#sum, sign === 1 ? term : -term);
    this.#countContent(name, staged.content, sign);
  }

  #countContent(name: string, content: Content, sign: 1 | -1): void {
    if ("received" in content) {
      if (sign === 1) this.#waiting.add(name);
      else this.#waiting.delete(name);
    } else if ("fault" in content) this.#faults += sign;
    else if ("lookup" in content) this.#changed.lookups = true;
    else {
      this.#changed.resources = true;
      if (content.unread !== undefined && sign === 1)
        this.#unread.set(name, content.unread);
      else this.#unread.delete(name);
    }
  }

  #someFaults(): string {
    const faults: string[] = [];
    for (const { content } of this.#staged.values())
      if ("fault" in content && faults.push(content.fault) === 5) break;
    return faults.join("; ");
  }

  *#stagedResources(): Steps<ReceivedResources> {
    const resources = new Map<string, ReceivedResource>();
    for (const [name, { version, bytes, content }] of this.#staged) {
      if ("resource" in content && content.resource !== undefined) {
        const { resource, unread } = content;
        const more = unread === undefined ? {} : { unread };
        resources.set(name, { version, bytes, resource, ...more });
      }
      yield;
    }
    return resources;
  }

  *#stagedLookups(): Steps<ReceivedLookups> {
    const lookups = new Map<string, Lookup>();
    for (const [name, { content }] of this.#staged) {
      if ("lookup" in content) lookups.set(name, content.lookup);
      yield;
    }
    return lookups;
  }
}

/** What it counts for: not less than it takes to keep, however little it says. */
function sizeOf(
  name: string,
  { version, bytes }: Pick<Staged, "version" | "bytes">,
): Bytes {
  return Math.max(LEAST_SIZE, name.length + version.length + bytes);
}

/** Memory of its own: what came keeps the message that it came in, of up to some megabytes. */
function ownCopy(value: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(value.length);
  copy.set(value);
  return copy;
}

function refused(reason: string): Sealed {
  return { kind: "refused", reason };
}

function bounded(content: Content): Content {
  return "fault" in content
    ? { fault: content.fault.slice(0, LONGEST_FAULT) }
    : content;
}

/** What there is to go on with should the next version be one that cannot be read whole; what lets nothing through is not. */
function olderIn(staged: Staged | undefined): Resource | undefined {
  if (staged === undefined) return undefined;
  const { content } = staged;
  if ("received" in content) return content.older;
  if (!("resource" in content)) return undefined;
  const { resource, unread } = content;
  return unread === undefined || unread.instead === "older"
    ? resource
    : undefined;
}

function* read(
  received: DeltaResource,
  older: Resource | undefined,
): Steps<Content> {
  const { name, typeUrl } = received;
  if (typeUrl === RESOURCE_TYPE || typeUrl === PACKED_TYPE)
    return yield* readResource(received, older);
  if (typeUrl === LOOKUP_TYPE) return readLookup(received);
  return { fault: `${name} is of type ${typeUrl}` };
}

/** What a question leads to, or why that cannot be read. */
function readLookup({ name, version, value }: DeltaResource): Content {
  const question = parseInterest(name);
  if (question === undefined || !isQuestion(question))
    return { fault: `${name.slice(0, 200)} is not a question` };
  try {
    const result = lookup.decode(value);
    return version === lookupVersion(result.services)
      ? { lookup: result }
      : { fault: `${name} is not of version ${version.slice(0, 200)}` };
  } catch (thrown) {
    return { fault: `${name} cannot be read: ${messageOf(thrown)}` };
  }
}
