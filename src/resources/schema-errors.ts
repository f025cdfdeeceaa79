/** From what the schema validator found to one problem a cause, in words that say what is allowed. */
import type { ErrorObject } from "ajv";
import type { KindDefinition, Problem } from "./kind.ts";
import { formatPath, fromPointer, shapeOf, type Segment } from "./path.ts";
import { quote } from "./problems.ts";
import { didYouMean } from "./suggest.ts";

export function explain(
  errors: readonly ErrorObject[],
  root: unknown,
  definition: Pick<KindDefinition, "unsupported">,
): Problem[] {
  const problems = new Map<string, Problem>();
  for (const found of errors) {
    // Says only that the keys' own schema refused one; that refusal is there besides.
    if (found.keyword === "propertyNames") continue;
    const problem = problemOf(found, root, definition);
    // One value that breaks two keywords of one described rule is one cause.
    const cause = `${problem.path}\n${problem.message}`;
    if (!problems.has(cause)) problems.set(cause, problem);
  }
  return [...problems.values()];
}

function problemOf(
  found: ErrorObject,
  root: unknown,
  definition: Pick<KindDefinition, "unsupported">,
): Problem {
  const at = fromPointer(found.instancePath, root);
  const params = found.params as Readonly<Record<string, unknown>>;
  if (found.propertyName !== undefined)
    return {
      path: formatPath([...at, found.propertyName]),
      message: messageOf(found, params),
      at: "key",
    };
  if (found.keyword === "additionalProperties") {
    const name = String(params["additionalProperty"]);
    const path = [...at, name];
    return {
      path: formatPath(path),
      message: unknownField(path, name, found, definition),
      at: "key",
    };
  }
  if (found.keyword === "required") {
    const name = String(params["missingProperty"]);
    const hint = expectedOf(propertiesOf(found)[name]);
    return {
      path: formatPath([...at, name]),
      message: hint === undefined ? "is required" : `is required: ${hint}`,
    };
  }
  return { path: formatPath(at), message: messageOf(found, params) };
}

function unknownField(
  path: readonly Segment[],
  name: string,
  found: ErrorObject,
  definition: Pick<KindDefinition, "unsupported">,
): string {
  const shape = shapeOf(path);
  if (Object.hasOwn(definition.unsupported, shape)) {
    const advice = definition.unsupported[shape];
    if (advice !== undefined && advice !== "") return advice;
    return `${quote(name)} is not supported by this version; it would be ignored, so it is refused`;
  }
  const known = Object.keys(propertiesOf(found));
  const allowed = known.length === 0 ? "none" : known.join(", ");
  return `unknown field ${quote(name)}${didYouMean(name, known)}; allowed here: ${allowed}`;
}

function messageOf(
  found: ErrorObject,
  params: Readonly<Record<string, unknown>>,
): string {
  const data: unknown = found.data;
  const expected = expectedOf(found.parentSchema);
  const limit = String(params["limit"]);
  switch (found.keyword) {
    case "type":
      return Array.isArray(params["type"]) && expected !== undefined
        ? `must be ${expected}, not ${typeName(data)}`
        : wrongType(String(params["type"]), data);
    case "enum": {
      const allowed = (params["allowedValues"] as unknown[]).map(String);
      const hint = typeof data === "string" ? didYouMean(data, allowed) : "";
      return `${quote(data)} is not one of ${allowed.map((value) => (value === "" ? '""' : value)).join(", ")}${hint}`;
    }
    case "minItems":
    case "minProperties":
      return `is empty: ${expected ?? "give it a value, or leave the field out"}`;
    case "maxItems":
      return `has ${Array.isArray(data) ? data.length : "too many"} entries, more than ${limit}`;
    case "maxProperties":
      return `has more than ${limit} entries`;
    case "uniqueItems":
      return "has the same value twice";
    case "minLength":
      return "must not be empty";
    default:
      break;
  }
  if (expected !== undefined) return `${quote(data)} is not ${expected}`;
  switch (found.keyword) {
    case "minimum":
      return `${quote(data)} is below ${limit}`;
    case "maximum":
      return `${quote(data)} is above ${limit}`;
    case "maxLength":
      return `is longer than ${limit} characters`;
    default:
      return `${quote(data)} ${found.message ?? "is not allowed"}`;
  }
}

const ARTICLES: Readonly<Record<string, string>> = {
  string: "text",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
};

function wrongType(type: string, data: unknown): string {
  const message = `must be ${ARTICLES[type] ?? type}, not ${typeName(data)}`;
  if (
    type === "string" &&
    (typeof data === "number" || typeof data === "boolean")
  )
    return `${message}: put it in quotes`;
  if (
    (type === "integer" || type === "number" || type === "boolean") &&
    typeof data === "string"
  )
    return `${message}: write it without quotes`;
  if (type === "array" && typeof data === "object" && data !== null)
    return `${message}: start each entry with "- "`;
  if (type === "object" && data === null)
    return `${message}: write {} where nothing is meant`;
  return message;
}

/** What a value is, with an article. */
export function typeName(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  switch (typeof value) {
    case "object":
      return "an object";
    case "string":
      return `the text ${quote(value)}`;
    case "number":
    case "boolean":
      return `the ${typeof value} ${String(value)}`;
    default:
      return `a ${typeof value}`;
  }
}

function propertiesOf(found: ErrorObject): Readonly<Record<string, unknown>> {
  const schema: unknown = found.parentSchema;
  if (typeof schema !== "object" || schema === null) return {};
  const properties: unknown = (schema as Record<string, unknown>)["properties"];
  return typeof properties === "object" && properties !== null
    ? (properties as Record<string, unknown>)
    : {};
}

function expectedOf(schema: unknown): string | undefined {
  if (typeof schema !== "object" || schema === null) return undefined;
  const expected: unknown = (schema as Record<string, unknown>)["expected"];
  return typeof expected === "string" ? expected : undefined;
}
