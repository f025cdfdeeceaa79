/** The config that a control plane has sent so far, beside the one in force: taken or refused as a whole when a Revision closes the push. */
import { messageOf } from "../core/errors.ts";
import type { Bytes } from "../core/units.ts";
import { lookup, pushedResource } from "../push/codec.ts";
import { isQuestion, lookupVersion, parseInterest } from "../push/interest.ts";
import type {
  DeltaResource,
  DeltaResponse,
  Lookup,
  Revision,
} from "../push/messages.ts";
import {
  digestSum,
  digestTerm,
  formatDigest,
  LOOKUP_TYPE,
  parseResourceName,
  resourceName,
  RESOURCE_TYPE,
} from "../push/names.ts";
import { formatKey, keyOf, type Resource } from "../resources/envelope.ts";
import { isError } from "../resources/problems.ts";
import { validate } from "../resources/validate.ts";

/** One resource as it was received. */
export interface ReceivedResource {
  readonly version: string;
  readonly resource: Resource;
  /** On the wire. */
  readonly bytes: number;
}

export type ReceivedResources = ReadonlyMap<string, ReceivedResource>;

/** What a question leads to, by the question's name. */
export type ReceivedLookups = ReadonlyMap<string, Lookup>;

type Content =
  | { readonly resource: Resource }
  | { readonly lookup: Lookup }
  | { readonly fault: string };

interface Staged {
  readonly version: string;
  readonly bytes: number;
  readonly content: Content;
}

export interface ReceivedConfig {
  readonly resources: ReceivedResources;
  readonly lookups: ReceivedLookups;
}

export type Sealed =
  | ({ readonly kind: "resources" } & ReceivedConfig)
  | { readonly kind: "refused"; readonly reason: string }
  /** What was over the limit was not kept: only a new stream, which says what is held, can bring it. */
  | { readonly kind: "incomplete" };

export interface Staging {
  /** Takes a message of type Resource. Nothing in it throws: faults come out when the push is sealed. */
  stage(response: DeltaResponse): void;
  /** Whether what is staged is what the Revision says, readable, valid and within the limit. */
  seal(revision: Revision): Sealed;
}

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
  #sum = 0n;
  #bytes = 0;
  #faults = 0;
  #overflow = false;
  /** The first Revision after an overflow is refused with the reason; a later one cannot be judged. */
  #dropped = false;

  constructor({ resources, lookups }: ReceivedConfig, maxConfigBytes: Bytes) {
    this.#maxConfigBytes = maxConfigBytes;
    for (const [name, { version, resource, bytes }] of resources)
      this.#put(name, { version, bytes, content: { resource } });
    for (const [name, lookup] of lookups) {
      const version = lookupVersion(lookup.services);
      this.#put(name, { version, bytes: version.length, content: { lookup } });
    }
    this.#resources = resources;
    this.#lookups = lookups;
    this.#changed = { resources: false, lookups: false };
  }

  stage(response: DeltaResponse): void {
    for (const name of response.removed) this.#forget(name);
    for (const received of response.resources) {
      const { name, version, value } = received;
      this.#forget(name);
      if (this.#bytes + value.length > this.#maxConfigBytes)
        this.#overflow = true;
      // Over the limit only sizes are kept, for the message.
      const content = this.#overflow
        ? { fault: "over the limit" }
        : read(received);
      this.#put(name, { version, bytes: value.length, content });
    }
  }

  seal(revision: Revision): Sealed {
    if (this.#dropped) return { kind: "incomplete" };
    if (this.#overflow) {
      this.#dropped = true;
      return refused(
        `the config has ${this.#bytes} bytes or more, and this sidecar takes ${this.#maxConfigBytes} at most: narrow exportTo, or raise --max-config-bytes`,
      );
    }
    const digest = formatDigest(this.#sum);
    if (digest !== revision.digest)
      return refused(
        `the digest of the ${this.#staged.size} resources received is ${digest}, and the revision says ${revision.digest}: the push was incomplete`,
      );
    if (this.#faults > 0) return refused(this.#someFaults());
    if (this.#changed.resources) this.#resources = this.#stagedResources();
    if (this.#changed.lookups) this.#lookups = this.#stagedLookups();
    this.#changed = { resources: false, lookups: false };
    return {
      kind: "resources",
      resources: this.#resources,
      lookups: this.#lookups,
    };
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

  #count(
    name: string,
    { version, bytes, content }: Staged,
    sign: 1 | -1,
  ): void {
    this.#bytes += sign * bytes;
    const term = digestTerm(name, version);
    this.#sum = digestSum(this.#sum, sign === 1 ? term : -term);
    if ("fault" in content) this.#faults += sign;
    else if ("lookup" in content) this.#changed.lookups = true;
    else this.#changed.resources = true;
  }

  #someFaults(): string {
    const faults: string[] = [];
    for (const { content } of this.#staged.values())
      if ("fault" in content && faults.push(content.fault) === 5) break;
    return faults.join("; ");
  }

  #stagedResources(): ReceivedResources {
    const resources = new Map<string, ReceivedResource>();
    for (const [name, { version, bytes, content }] of this.#staged)
      if ("resource" in content)
        resources.set(name, { version, bytes, resource: content.resource });
    return resources;
  }

  #stagedLookups(): ReceivedLookups {
    const lookups = new Map<string, Lookup>();
    for (const [name, { content }] of this.#staged)
      if ("lookup" in content) lookups.set(name, content.lookup);
    return lookups;
  }
}

function refused(reason: string): Sealed {
  return { kind: "refused", reason };
}

function read(received: DeltaResource): Content {
  const { name, typeUrl } = received;
  if (typeUrl === RESOURCE_TYPE) return readResource(received);
  if (typeUrl === LOOKUP_TYPE) return readLookup(received);
  return { fault: `${name} is of type ${typeUrl}` };
}

/** The resource, or why it cannot be used: what comes from a control plane is held to the same schema as a file. */
function readResource({ name, value }: DeltaResource): Content {
  try {
    const { json } = pushedResource.decode(value);
    const parsed: unknown = JSON.parse(json.toString("utf8"));
    const validation = validate(parsed);
    if (!validation.ok) {
      const problems = validation.problems
        .filter(isError)
        .map(({ path, message }) => `${path} ${message}`);
      return { fault: `${name}: ${problems.slice(0, 5).join("; ")}` };
    }
    const key = keyOf(validation.resource);
    if (resourceName(key) !== name)
      return { fault: `${name} holds ${formatKey(key)}` };
    return { resource: validation.resource };
  } catch (thrown) {
    return {
      fault: `${parseResourceName(name) === undefined ? "a resource without a name" : name} cannot be read: ${messageOf(thrown)}`,
    };
  }
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
