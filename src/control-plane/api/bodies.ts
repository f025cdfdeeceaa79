/** Reads request bodies, JSON or YAML, and says where one is malformed. */
import { LineCounter, parseDocument } from "yaml";
import { messageOf } from "../../core/errors.ts";
import { ApiError } from "./errors.ts";
import { jsonFault } from "./json-fault.ts";

/** More than the largest useful resource, less than what would hurt. */
export const BODY_LIMIT: number = 2 * 1024 * 1024;

export const JSON_TYPE = "application/json";
export const MERGE_PATCH_TYPE = "application/merge-patch+json";
export const YAML_TYPE = "application/yaml";
export const JSON_TYPES: readonly string[] = [JSON_TYPE, MERGE_PATCH_TYPE];
export const YAML_TYPES: readonly string[] = [
  YAML_TYPE,
  "application/x-yaml",
  "text/yaml",
];

/** No resource is nested half as deep; what recurses over a body needs a bound. */
const DEEPEST = 64;

/** Throws ApiError BadRequest with the position. */
export function parseJson(body: Buffer): unknown {
  const text = decode(body);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    const { line, column } = jsonFault(text) ?? { line: 1, column: 1 };
    throw malformed(
      `not JSON at line ${line}, column ${column}: ${messageOf(thrown)}`,
    );
  }
  checkDepth(value);
  return value;
}

/** One document; keys only once, aliases bounded by the parser. Throws ApiError BadRequest with the position. */
export function parseYaml(body: Buffer): unknown {
  const lines = new LineCounter();
  let value: unknown;
  try {
    const document = parseDocument(decode(body), {
      lineCounter: lines,
      prettyErrors: false,
      stringKeys: true,
    });
    const [error] = document.errors;
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0]);
      throw malformed(
        `not YAML at line ${line}, column ${col}: ${error.message}`,
      );
    }
    value = document.toJS({ maxAliasCount: 100 });
  } catch (thrown) {
    if (thrown instanceof ApiError) throw thrown;
    throw malformed(`not YAML: ${messageOf(thrown)}`);
  }
  checkDepth(value);
  return value;
}

function decode(body: Buffer): string {
  if (body.length === 0)
    throw malformed("empty: send one resource as JSON or YAML");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw malformed("not UTF-8");
  }
}

function malformed(what: string): ApiError {
  return new ApiError("BadRequest", `the body is ${what}`);
}

/** Level by level, so that depth itself cannot exhaust the stack. */
function checkDepth(value: unknown): void {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > DEEPEST)
      throw malformed(`nested more than ${DEEPEST} levels deep`);
    const next: unknown[] = [];
    for (const item of level)
      if (typeof item === "object" && item !== null)
        for (const child of Object.values(item)) next.push(child);
    level = next;
  }
}
