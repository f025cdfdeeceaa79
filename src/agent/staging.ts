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
  digestOf,
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

/** The answer to a question, by the question's name. */
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

export type Sealed =
  | {
      readonly kind: "resources";
      readonly resources: ReceivedResources;
      readonly lookups: ReceivedLookups;
    }
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
  inForce: ReceivedResources,
  maxConfigBytes: Bytes,
): Staging {
  const staged = new Map<string, Staged>();
  let bytes = 0;
  let overflow = false;
  /** The first Revision after an overflow is refused with the reason; a later one cannot be judged. */
  let dropped = false;

  const forget = (name: string): void => {
    bytes -= staged.get(name)?.bytes ?? 0;
    staged.delete(name);
  };

  for (const [name, { version, resource, bytes: size }] of inForce) {
    staged.set(name, { version, bytes: size, content: { resource } });
    bytes += size;
  }

  return {
    stage(response) {
      for (const name of response.removed) forget(name);
      for (const received of response.resources) {
        const { name, version, value } = received;
        forget(name);
        bytes += value.length;
        if (bytes > maxConfigBytes) overflow = true;
        // Over the limit only sizes are kept, for the message.
        const content = overflow ? { fault: "over the limit" } : read(received);
        staged.set(name, { version, bytes: value.length, content });
      }
    },
    seal(revision) {
      if (dropped) return { kind: "incomplete" };
      if (overflow) {
        dropped = true;
        return {
          kind: "refused",
          reason: `the config has ${bytes} bytes or more, and this sidecar takes ${maxConfigBytes} at most: narrow exportTo, or raise --max-config-bytes`,
        };
      }
      const digest = digestOf(
        Array.from(staged, ([name, { version }]) => [name, version] as const),
      );
      if (digest !== revision.digest)
        return {
          kind: "refused",
          reason: `the digest of the ${staged.size} resources received is ${digest}, and the revision says ${revision.digest}: the push was incomplete`,
        };
      const resources = new Map<string, ReceivedResource>();
      const lookups = new Map<string, Lookup>();
      const faults: string[] = [];
      for (const [name, { version, content, bytes: size }] of staged)
        if ("fault" in content) faults.push(content.fault);
        else if ("lookup" in content) lookups.set(name, content.lookup);
        else resources.set(name, { ...content, version, bytes: size });
      return faults.length === 0
        ? { kind: "resources", resources, lookups }
        : { kind: "refused", reason: faults.slice(0, 5).join("; ") };
    },
  };
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

/** The answer to a question, or why it is none. */
function readLookup({ name, version, value }: DeltaResource): Content {
  const question = parseInterest(name);
  if (question === undefined || !isQuestion(question))
    return { fault: `${name.slice(0, 200)} is not a question` };
  try {
    const answer = lookup.decode(value);
    return version === lookupVersion(answer.services)
      ? { lookup: answer }
      : { fault: `${name} is not of version ${version.slice(0, 200)}` };
  } catch (thrown) {
    return { fault: `${name} cannot be read: ${messageOf(thrown)}` };
  }
}
