/** From any value to a resource that this version can act on, or to every reason why not. */
import type { ErrorObject, ValidateFunction } from "ajv";
import type { Steps } from "../core/slices.ts";
import { isObject } from "../core/text/json.ts";
import { DEFAULT_NAMESPACE, type Resource } from "./envelope.ts";
import { checkForeignMetadata } from "./foreign-metadata.ts";
import type { KindDefinition, Problem } from "./kind.ts";
import { withoutKubernetes } from "./kubernetes.ts";
import { fromPointer, shapeOf, type Segment } from "./path.ts";
import { isError } from "./problems.ts";
import { kindNamed, kindOf, KINDS } from "./registry.ts";
import { explain, typeName } from "./schema-errors.ts";
import { didYouMean } from "./suggest.ts";
import { makeValidator } from "./validators.ts";

export type Validation =
  | {
      readonly ok: true;
      /** Normalised: without status, with a namespace where the kind has one. */
      readonly resource: Resource;
      readonly warnings: readonly Problem[];
    }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export interface ValidateOptions {
  /** For a namespaced resource that names none. */
  readonly namespace?: string;
  /** Errors of the schema that are explained; absent: all that are found. */
  readonly explained?: number;
}

/** A document with more is not worth reading to the end. */
const MOST_PROBLEMS = 50;
export function validate(
  written: unknown,
  options: ValidateOptions = {},
): Validation {
  const value = withoutKubernetes(written);
  const definition = definitionOf(value);
  if (Array.isArray(definition)) return { ok: false, problems: definition };
  const accepts = validatorOf(definition);
  if (!passes(accepts, value))
    return {
      ok: false,
      problems: atMost(
        explain(
          (accepts.errors ?? []).slice(0, options.explained),
          value,
          definition,
        ),
      ),
    };
  const resource = normalise(value, options.namespace);
  const problems = [
    ...checkForeignMetadata(resource),
    ...definition.check(resource),
  ];
  if (problems.some(isError)) return { ok: false, problems: atMost(problems) };
  return { ok: true, resource, warnings: problems };
}

/** A resource of which this version does not know all fields, or all values of an enumeration. */
export interface Unknown {
  /** Their paths, "[]" for any index; of a value "PATH=VALUE". */
  readonly fields: readonly string[];
  /** Whether values are among them. */
  readonly hasValues: boolean;
  /** All but these. */
  readonly rest: unknown;
}

/** Undefined where it is none: all is known, or it is of no kind of this version. */
export function unknownFieldsOf(value: unknown): Unknown | undefined {
  const definition = definitionOf(value);
  if (Array.isArray(definition)) return undefined;
  const accepts = validatorOf(definition);
  if (passes(accepts, value)) return undefined;
  const unknown = (accepts.errors ?? []).filter(
    (found) => found.keyword === "additionalProperties" || isNewValue(found),
  );
  // Most that is wrong is wrong otherwise, and a copy of it all costs as much as to judge it.
  if (unknown.length === 0) return undefined;
  const fields = new Set<string>();
  const rest: unknown = structuredClone(value);
  const lists = new Map<string, readonly Segment[]>();
  for (const found of unknown) {
    const at = fromPointer(found.instancePath, value);
    const isValue = found.keyword === "enum";
    const path = isValue ? at : [...at, addedName(found)];
    const [parent, last] = [path.slice(0, -1), path.at(-1) ?? ""];
    const place = reached(rest, parent);
    if (Array.isArray(place)) lists.set(found.instancePath, parent);
    Reflect.deleteProperty(place, last);
    if (fields.size < MOST_PROBLEMS)
      fields.add(
        isValue
          ? `${shapeOf(at)}=${String(found.data).slice(0, LONGEST_VALUE)}`
          : shapeOf(path),
      );
  }
  for (const parent of lists.values()) closeGaps(rest, parent);
  const hasValues = unknown.some(isNewValue);
  return { fields: [...fields], hasValues, rest };
}

/** Characters of an unknown value that are said again. */
const LONGEST_VALUE = 100;

/** A later version may have one more. Only text and numbers are judged so. */
function isNewValue({ keyword, data, propertyName }: ErrorObject): boolean {
  return (
    keyword === "enum" &&
    propertyName === undefined &&
    (typeof data === "string" || typeof data === "number")
  );
}

function addedName({ params }: ErrorObject): string {
  return String(
    (params as Readonly<Record<string, unknown>>)["additionalProperty"],
  );
}

/** A list that lost entries is shorter; one that lost all is not there. */
function closeGaps(root: unknown, at: readonly Segment[]): void {
  const holder = reached(root, at.slice(0, -1));
  const list: unknown = Reflect.get(holder, at.at(-1) ?? "");
  if (!Array.isArray(list)) return;
  const kept = list.filter((_entry, index) => Object.hasOwn(list, index));
  if (kept.length === 0) Reflect.deleteProperty(holder, at.at(-1) ?? "");
  else Reflect.set(holder, at.at(-1) ?? "", kept);
}

function reached(value: unknown, at: readonly Segment[]): object {
  let place = value;
  for (const segment of at)
    place = (place as Readonly<Record<string, unknown>>)[segment];
  return place as object;
}

/** Without what the store computes, and with the namespace that is meant. */
export function normalise(
  resource: Resource,
  namespace: string = DEFAULT_NAMESPACE,
): Resource {
  const { apiVersion, kind, metadata, spec } = resource;
  const namespaced = kindOf(apiVersion, kind)?.namespaced ?? true;
  return {
    apiVersion,
    kind,
    metadata:
      namespaced && metadata.namespace === undefined
        ? { ...metadata, namespace }
        : metadata,
    spec,
  };
}

/** Where it does not, `accepts.errors` has why, as ever. */
function passes(
  accepts: ValidateFunction<Resource>,
  value: unknown,
): value is Resource {
  try {
    return accepts(value);
  } catch (thrown) {
    if (!Array.isArray(thrown)) throw thrown;
    accepts.errors = thrown as ErrorObject[];
    return false;
  }
}

const validators = new Map<KindDefinition, ValidateFunction<Resource>>();

/**
 * Gets ready for every kind. Each takes up to 60 ms, or 15 where it was made beforehand and is read, so that there is a pause after each;
 * without this, the first resource of a kind pays for it, in the middle of traffic.
 */
export function* prepareValidators(): Steps<void> {
  for (const definition of KINDS) {
    const accepts = validatorOf(definition);
    yield;
    // V8 compiles a function when it is first called, and these are long: 6 ms for a TrafficPolicy.
    accepts({});
    yield;
  }
}

/** Made at first use: what starts does not wait for kinds that it does not meet. */
function validatorOf(definition: KindDefinition): ValidateFunction<Resource> {
  const known = validators.get(definition);
  if (known !== undefined) return known;
  const made = makeValidator(definition);
  validators.set(definition, made);
  return made;
}

function definitionOf(value: unknown): KindDefinition | Problem[] {
  if (!isObject(value))
    return [
      {
        path: "",
        message: `must be an object with apiVersion, kind, metadata and spec, not ${typeName(value)}`,
      },
    ];
  const problems: Problem[] = [];
  const read = (field: "apiVersion" | "kind"): string => {
    const found: unknown = Object.hasOwn(value, field)
      ? value[field]
      : undefined;
    if (typeof found === "string" && found !== "") return found;
    problems.push({
      path: field,
      message:
        found === undefined
          ? "is required"
          : `must be text, not ${typeName(found)}`,
    });
    return "";
  };
  const apiVersion = read("apiVersion");
  const kind = read("kind");
  if (problems.length > 0) return problems;
  const definition = kindOf(apiVersion, kind);
  if (definition !== undefined) return definition;
  const named = kindNamed(kind);
  if (named !== undefined)
    return [
      {
        path: "apiVersion",
        message: `${kind} is "${named.apiVersion}" here, not ${JSON.stringify(apiVersion)}`,
      },
    ];
  const kinds = KINDS.map((known) => known.kind);
  return [
    {
      path: "kind",
      message: `${JSON.stringify(kind)} is not a kind of this version${didYouMean(kind, kinds)}; it has ${kinds.join(", ")}`,
    },
  ];
}

function atMost(problems: readonly Problem[]): readonly Problem[] {
  if (problems.length <= MOST_PROBLEMS) return problems;
  return [
    ...problems.slice(0, MOST_PROBLEMS),
    { path: "", message: `and ${problems.length - MOST_PROBLEMS} more` },
  ];
}
