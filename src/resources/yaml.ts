/** YAML and JSON texts into values that know where each of their fields stands. */
import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
  type Document,
  type Node,
  type Pair,
} from "yaml";
import { messageOf } from "../core/errors.ts";
import { parsePath, type Segment } from "./path.ts";
import {
  MOST_ALIASES,
  structureFaults,
  syntaxMessage,
  TEMPLATE,
} from "./yaml-structure.ts";

export interface Position {
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export interface ParsedDocument {
  readonly value: unknown;
  /** Where the field is, or its name where `at` is "key"; the nearest parent where there is no such field. */
  locate(path: string, at?: "key"): Position;
}

export interface SyntaxProblem extends Position {
  readonly file: string;
  readonly message: string;
}

export interface ParsedText {
  readonly documents: readonly ParsedDocument[];
  readonly problems: readonly SyntaxProblem[];
}

/** Characters. A longer text is not a mesh's configuration in one file. */
const LONGEST_TEXT = 16 * 1024 * 1024;

const TOO_DEEP = "is nested too deeply";
/** The parser passes V8's words on. */
const OVERFLOW = "Maximum call stack size exceeded";

/** Several documents in one text, JSON too; a `kind: List` gives its items. Empty documents are passed over. */
export function parseDocuments(text: string, file: string): ParsedText {
  const counter = new LineCounter();
  if (text.length > LONGEST_TEXT)
    return refused(file, `is longer than ${LONGEST_TEXT} characters`);
  let parsed: Document.Parsed[];
  try {
    const result = parseAllDocuments(text, {
      lineCounter: counter,
      prettyErrors: false,
      // `structureFaults` looks for duplicates.
      uniqueKeys: false,
      strict: true,
      // Keys such as {a: b}: have no field path.
      stringKeys: true,
    });
    parsed = Array.isArray(result) ? result : [];
  } catch (thrown) {
    return refused(file, faultOf(thrown));
  }
  const documents: ParsedDocument[] = [];
  const problems: SyntaxProblem[] = [];
  for (const document of parsed) {
    const report = (offset: number, message: string): number =>
      problems.push({ file, ...positionAt(counter, offset), message });
    const faults = [...document.errors, ...document.warnings].map(
      ({ pos: [offset], message }) => ({
        offset,
        message:
          message === OVERFLOW
            ? TOO_DEEP
            : syntaxMessage(text, offset, message),
      }),
    );
    const template = faults.find(({ message }) => message === TEMPLATE);
    for (const { offset, message } of template === undefined
      ? faults
      : [template])
      report(offset, message);
    if (faults.length > 0) continue;
    try {
      const structure = structureFaults(document);
      for (const { offset, message } of structure) report(offset, message);
      if (structure.length > 0) continue;
      const value: unknown = document.toJS({ maxAliasCount: MOST_ALIASES });
      const start = positionAt(counter, startOf(document));
      if (value !== null && value !== undefined)
        documents.push(...itemsOf(locatable(document, value, counter, start)));
    } catch (thrown) {
      report(startOf(document), faultOf(thrown));
    }
  }
  return { documents, problems };
}

function refused(file: string, message: string): ParsedText {
  return { documents: [], problems: [{ file, line: 1, column: 1, message }] };
}

function faultOf(thrown: unknown): string {
  return thrown instanceof RangeError ? TOO_DEEP : messageOf(thrown);
}

function locatable(
  document: Document.Parsed,
  value: unknown,
  counter: LineCounter,
  start: Position,
): ParsedDocument {
  return {
    value,
    locate(path, at) {
      const segments = parsePath(path) ?? [];
      const offset = offsetOf(document, segments, at === "key");
      return offset === undefined ? start : positionAt(counter, offset);
    },
  };
}

/** The items of what `kubectl get -o yaml` prints for several objects. */
function itemsOf(document: ParsedDocument): ParsedDocument[] {
  const { value } = document;
  if (typeof value !== "object" || value === null) return [document];
  if (!("kind" in value && value.kind === "List")) return [document];
  if (!("items" in value && Array.isArray(value.items))) return [document];
  return value.items.map((item: unknown, index) => ({
    value: item,
    locate: (path, at) => {
      const item = `items[${index}]`;
      if (path === "") return document.locate(item, at);
      const joint = path.startsWith("[") ? "" : ".";
      return document.locate(`${item}${joint}${path}`, at);
    },
  }));
}

/**
 * Offset of the last node on the path that exists. A value that spans lines below its name, and whatever a missing field
 * was looked for in, is pointed at by its name.
 */
function offsetOf(
  document: Document.Parsed,
  path: readonly Segment[],
  wantsKey: boolean,
): number | undefined {
  let node: unknown = document.contents;
  let offset = rangeOf(node);
  for (const [index, segment] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (isSeq(node) && typeof segment === "number") {
      const item: unknown = node.items[segment];
      if (item === undefined) return offset;
      node = item;
      offset = rangeOf(node) ?? offset;
    } else if (isMap(node)) {
      const pair = node.items.find(
        (each) => isPair(each) && nameOf(each) === String(segment),
      );
      if (pair === undefined) return offset;
      offset = rangeOf(pair.key) ?? offset;
      node = pair.value;
      const last = index === path.length - 1;
      if (last && !wantsKey && pointsAtValue(node))
        return rangeOf(node) ?? offset;
    } else return offset;
  }
  return offset;
}

function pointsAtValue(node: unknown): boolean {
  if (isScalar(node)) return node.source !== undefined && node.source !== "";
  return isAlias(node) || ((isMap(node) || isSeq(node)) && node.flow === true);
}

function nameOf(pair: Pair): string | undefined {
  return isScalar(pair.key) ? String(pair.key.value) : undefined;
}

function rangeOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}

function startOf(document: Document.Parsed): number {
  return rangeOf(document.contents) ?? document.range[0];
}

function positionAt(counter: LineCounter, offset: number): Position {
  const { line, col } = counter.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}
