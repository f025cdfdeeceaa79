/** What a control plane has sent of one resource, read: held to the same schemas as a file, but for fields and values of a newer version. */
import { messageOf } from "../../core/errors.ts";
import type { Steps } from "../../core/slices.ts";
import type { Bytes } from "../../core/units.ts";
import { pushedResource } from "../../push/codec.ts";
import type { DeltaResource } from "../../push/messages.ts";
import {
  PACKED_TYPE,
  parseResourceName,
  resourceName,
} from "../../push/names.ts";
import { closedForm, keepsOlder, type Unread } from "../../push/stand-in.ts";
import { formatKey, keyOf, type Resource } from "../../resources/envelope.ts";
import { isError } from "../../resources/problems.ts";
import { kindNamed } from "../../resources/registry.ts";
import { SERVICE } from "../../resources/service/schema.ts";
import {
  unknownFieldsOf,
  validate,
  type Validation,
} from "../../resources/validate.ts";
import { WORKLOAD } from "../../resources/workload/schema.ts";

export type ReadResource =
  /** `unread`: it has fields or values that this version does not know; the resource is what acts in its place, if anything does. */
  | { readonly resource: Resource; readonly unread?: Unread }
  | { readonly resource: undefined; readonly unread: Unread }
  | { readonly fault: string };

/** In one resource. */
const MOST_VALUES = 200_000;
/** Errors that are put into words, and the causes that a fault names: several errors may have one cause. */
const [EXPLAINED, NAMED] = [50, 5];
/** Bytes that are counted in one step. */
const COUNTED: Bytes = 65_536;
/** JSON of so many bytes is read in one step with all that follows: what is longer has a step for each thing that is done with it. */
const SHORT: Bytes = 16_384;

/** The resource, or why it cannot be used. `older`: what is read of the same name already, if it is to be gone on with. */
export function* readResource(
  { name, typeUrl, value }: DeltaResource,
  older: Resource | undefined,
): Steps<ReadResource> {
  try {
    const json =
      typeUrl === PACKED_TYPE ? value : pushedResource.decode(value).json;
    const long = json.length > SHORT;
    if (yield* hasManyValues(json))
      return { fault: `${name} has more than ${MOST_VALUES} values` };
    if (long) yield;
    const parsed: unknown = JSON.parse(json.toString("utf8"));
    if (long) yield;
    const validation = validate(parsed, { explained: EXPLAINED });
    if (long && !validation.ok) yield;
    const read = validation.ok
      ? validation
      : (readRest(parsed, name, older) ?? faultOf(name, validation));
    if ("fault" in read || read.resource === undefined) return read;
    const key = keyOf(read.resource);
    return resourceName(key) === name
      ? read
      : { fault: `${name} holds ${formatKey(key)}` };
  } catch (thrown) {
    return {
      fault: `${parseResourceName(name) === undefined ? "a resource without a name" : name} cannot be read: ${messageOf(thrown)}`,
    };
  }
}

/**
 * For a resource with fields, or values of an enumeration, that are not known. Where calls go, the rest says well enough; a policy
 * without one of its conditions is another policy, so that the version before it goes on, or what lets nothing through. Undefined where
 * more than that is wrong.
 */
function readRest(
  parsed: unknown,
  name: string,
  older: Resource | undefined,
): ReadResource | undefined {
  const unknown = unknownFieldsOf(parsed);
  if (unknown === undefined)
    return isUnknownKind(name)
      ? {
          resource: undefined,
          unread: { fields: ["kind"], instead: "nothing" },
        }
      : undefined;
  const { fields, hasValues } = unknown;
  // The name in it is checked with what acts.
  const known = unknown.rest as Resource;
  const { kind } = known;
  if (kind === SERVICE.kind || kind === WORKLOAD.kind) {
    const rest = accepted(unknown.rest, { fields, instead: "rest" });
    // Another kind of Service may have nothing in it that this version can use.
    if (rest !== undefined || !hasValues) return rest;
  }
  if (keepsOlder(known) && older !== undefined)
    return { resource: older, unread: { fields, instead: "older" } };
  const closed = closedForm(known, fields);
  return closed === undefined
    ? { resource: undefined, unread: { fields, instead: "nothing" } }
    : accepted(closed, { fields, instead: "closed" });
}

function accepted(value: unknown, unread: Unread): ReadResource | undefined {
  const validation = validate(value);
  return validation.ok ? { resource: validation.resource, unread } : undefined;
}

function isUnknownKind(name: string): boolean {
  const key = parseResourceName(name);
  return key !== undefined && kindNamed(key.kind) === undefined;
}

function faultOf(
  name: string,
  { problems }: Extract<Validation, { ok: false }>,
): ReadResource {
  const said = problems
    .filter(isError)
    .map(({ path, message }) => `${path} ${message}`);
  return { fault: `${name}: ${said.slice(0, NAMED).join("; ")}` };
}

/** JSON that would hold the thread for long. Commas and brackets within text count as well: no resource has so many. */
function* hasManyValues(json: Uint8Array): Steps<boolean> {
  let values = 0;
  for (let from = 0; from < json.length; from += COUNTED) {
    if (from > 0) yield;
    values += valuesIn(json.subarray(from, from + COUNTED));
    if (values > MOST_VALUES) return true;
  }
  return false;
}

function valuesIn(json: Uint8Array): number {
  let values = 0;
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at];
    if (byte === 0x2c || byte === 0x5b || byte === 0x7b) values += 1;
  }
  return values;
}
