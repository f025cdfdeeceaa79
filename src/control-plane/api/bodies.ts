/** Reads request bodies, JSON or YAML, and says where one is malformed. */
import { LineCounter, parseDocument } from "yaml";
import { messageOf } from "../../core/errors.ts";
import {
  MOST_ALIASES,
  structureFaults,
  syntaxMessage,
} from "../../resources/yaml-structure.ts";
import type { Api } from "./api.ts";
import { ApiError } from "./errors.ts";
import { jsonFault } from "./json-fault.ts";
import { tokenIdOf } from "./rights/authentication.ts";

/** More than the largest useful resource, less than what would hurt. */
export const BODY_LIMIT: number = 2 * 1024 * 1024;

/** Bytes of a list of resources. */
export const LIST_LIMIT: number = 4 * 1024 * 1024;

/** Resources in a list: all of them are written in one step, and nothing else of the control plane goes on in it. */
export const MOST_ITEMS = 2000;

/** Lists that are read and judged at one time; the others wait before their bodies are read. */
export const MOST_LISTS = 4;

/** The same of one token: however slowly it sends, others have a turn. */
export const MOST_LISTS_OF_TOKEN = 2;

/** Bodies that are read at one time, from all callers: with the limit above, 64 MiB. */
export const MOST_BODIES = 32;

/** The same of one token, so that none can keep all others from writing. */
export const MOST_BODIES_OF_TOKEN = 8;

/** YAML takes fifty times as long to read as JSON, and everything else waits meanwhile. */
export const YAML_LIMIT: number = 256 * 1024;

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
export const DEEPEST = 64;

/** Far more than in any resource. Each may be wrong in several ways, and what is said of it takes a hundred times its room. */
export const MOST_VALUES = 50_000;
export const MOST_LIST_VALUES = 400_000;

declare module "fastify" {
  interface FastifyContextConfig {
    /** MOST_VALUES where absent. */
    readonly mostValues?: number;
  }
}

/** Refuses a body where too many are being read: a token gives no right to all of the memory. */
export function limitBodies(api: Api): void {
  let reading = 0;
  const ofToken = new Map<string, number>();
  api.addHook("preParsing", (request, reply, _payload, done) => {
    const { headers } = request;
    if (
      headers["transfer-encoding"] === undefined &&
      (headers["content-length"] ?? "0") === "0"
    ) {
      done();
      return;
    }
    const token = tokenIdOf(request) ?? "";
    const own = ofToken.get(token) ?? 0;
    const isFull = reading >= MOST_BODIES;
    if (isFull || own >= MOST_BODIES_OF_TOKEN) {
      reply.header("retry-after", "1");
      reply.header("connection", "close");
      const what = isFull
        ? `${MOST_BODIES} request bodies`
        : `${MOST_BODIES_OF_TOKEN} request bodies of this token`;
      done(
        new ApiError(
          "ServiceUnavailable",
          `${what} are being read: try again in a second`,
        ),
      );
      return;
    }
    reading += 1;
    ofToken.set(token, own + 1);
    let over = false;
    const end = (): void => {
      if (over) return;
      over = true;
      reading -= 1;
      const left = (ofToken.get(token) ?? 1) - 1;
      if (left > 0) ofToken.set(token, left);
      else ofToken.delete(token);
    };
    // Whichever comes first: the body is read, or the exchange is over without it.
    request.raw.once("close", end);
    reply.raw.once("close", end);
    done();
  });
}

/** Throws ApiError BadRequest with the position. */
export function parseJson(
  body: Buffer,
  mostValues: number = MOST_VALUES,
): unknown {
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
  checkSize(value, mostValues);
  return value;
}

/** One document; keys only once, few aliases. Throws ApiError BadRequest with the position. */
export function parseYaml(body: Buffer): unknown {
  const lines = new LineCounter();
  let value: unknown;
  try {
    const text = decode(body);
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      stringKeys: true,
      // `structureFaults` looks for duplicates, in linear time.
      uniqueKeys: false,
    });
    const [error] = document.errors;
    if (error !== undefined) {
      const [offset] = error.pos;
      const message = syntaxMessage(text, offset, error.message);
      throw notYaml(lines, offset, message);
    }
    const [fault] = structureFaults(document);
    if (fault !== undefined) throw notYaml(lines, fault.offset, fault.message);
    value = document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (thrown) {
    if (thrown instanceof ApiError) throw thrown;
    throw malformed(`not YAML: ${messageOf(thrown)}`);
  }
  checkSize(value, MOST_VALUES);
  return value;
}

function notYaml(lines: LineCounter, offset: number, what: string): ApiError {
  const { line, col } = lines.linePos(offset);
  return malformed(`not YAML at line ${line}, column ${col}: ${what}`);
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

/** Level by level, so that depth itself cannot exhaust the stack; what an alias stands for counts each time. */
function checkSize(value: unknown, most: number): void {
  let level: unknown[] = [value];
  let values = 1;
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > DEEPEST)
      throw malformed(`nested more than ${DEEPEST} levels deep`);
    const next: unknown[] = [];
    for (const item of level)
      if (typeof item === "object" && item !== null) {
        for (const child of Object.values(item)) next.push(child);
        if (values + next.length > most)
          throw malformed(`of more than ${most} values`);
      }
    values += next.length;
    level = next;
  }
}
