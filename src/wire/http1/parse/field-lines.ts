/** Field lines to shared `Field` objects: a line that was seen before costs one look-up, is known to be valid and brings its encodings along. */
import { FieldClass, isLookalike } from "../../../mesh/field-class.ts";
import { makeField, mayOutlive, type Field } from "../../fields.ts";
import { beginsWithToken, isBlank, isFieldValue } from "../../grammar.ts";
import { Http1Fault } from "../fault.ts";

/** Lines longer than this are neither looked up nor kept. */
const LONGEST_LINE = 160;
/** Longest value that is kept. */
const LONGEST_VALUE = 128;
/** Lines in each of the two generations. */
const GENERATION = 512;

/** Names whose values do not come again: to keep them would push out what does. */
const PASSING: ReadonlySet<string> = new Set([
  "age",
  "content-length",
  "date",
  "etag",
  "expires",
  "if-modified-since",
  "if-none-match",
  "last-modified",
  "x-amzn-trace-id",
  "x-correlation-id",
  "x-envoy-upstream-service-time",
  "x-forwarded-for",
  "x-request-id",
]);

/**
 * Two generations: what is asked for moves to the young one; when that is full it becomes the old one, and the former old
 * one is dropped. A name that never repeats thus costs a rotation now and then, and cannot keep the useful lines out.
 */
let young = new Map<string, KeptLine>();
let old = new Map<string, KeptLine>();

/** A line that is kept, with its CRLF, and its field. */
export interface KeptLine {
  readonly text: string;
  readonly field: Field;
}

/** The last Date alone, once it has come twice: all responses of a second have the same one, and none has it again. */
let dateLine = "";
let date: Field | undefined;

function keep(line: string, kept: KeptLine): void {
  if (young.size >= GENERATION) {
    old = young;
    young = new Map();
  }
  young.set(line, kept);
}

/** The line as it is kept, where it is. */
export function keptLine(line: string): KeptLine | undefined {
  return line.length > LONGEST_LINE ? undefined : young.get(line);
}

/** Where the line ends that begins at `at`: at its CR, which an LF must follow (RFC 9112 2.2). */
export function lineEnd(text: string, at: number): number {
  const end = text.indexOf("\r", at);
  if (text.charCodeAt(end + 1) !== 0x0a)
    throw new Http1Fault("grammar", "a CR without LF in the head");
  return end;
}

/** The field of one line, without its CRLF (RFC 9112 5). Throws `Http1Fault`. */
export function fieldOfLine(line: string): Field {
  if (line.length > LONGEST_LINE) return parseFieldLine(line);
  if (line === dateLine) return (date ??= parseFieldLine(dateLine));
  let kept = young.get(line);
  if (kept !== undefined) return kept.field;
  kept = old.get(line);
  if (kept !== undefined) {
    keep(detached(line), kept);
    return kept.field;
  }
  let field = parseFieldLine(line);
  if (field.name === "date") {
    dateLine = detached(line);
    date = undefined;
  }
  if (!isKeepable(field)) return field;
  // The line is a view of a whole head, credentials included: what outlives the request is a copy of its own.
  const copy = detached(line);
  field = parseFieldLine(copy);
  keep(copy, { text: detached(`${copy}\r\n`), field });
  return field;
}

function isKeepable(field: Field): boolean {
  return (
    mayOutlive(field.bits, field.value) &&
    (field.bits & FieldClass.TRACE) === 0 &&
    field.value.length <= LONGEST_VALUE &&
    !PASSING.has(field.name)
  );
}

function detached(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

/** field-line = field-name ":" OWS field-value OWS (RFC 9112 5). */
function parseFieldLine(line: string): Field {
  const colon = line.indexOf(":");
  if (colon === -1) throw lineFault(line, line.length);
  if (colon === 0)
    throw new Http1Fault("grammar", "a field line has no field name");
  if (!beginsWithToken(line, colon)) throw lineFault(line, colon);
  let from = colon + 1;
  let to = line.length;
  while (from < to && isBlank(line.charCodeAt(from))) from += 1;
  while (to > from && isBlank(line.charCodeAt(to - 1))) to -= 1;
  const value = line.slice(from, to);
  if (!isFieldValue(value))
    throw new Http1Fault("grammar", "a field value has a control character");
  const name = line.slice(0, colon).toLowerCase();
  if (isLookalike(name))
    throw new Http1Fault(
      "grammar",
      "a field name that CGI cannot tell from one that frames or steers",
    );
  // llhttp does not take it away, finds another coding, and reads a response to the end of its connection.
  if (name === "transfer-encoding" && line.includes("\t", to))
    throw new Http1Fault("grammar", "a tab behind Transfer-Encoding's value");
  return makeField(name, value);
}

/** Names what is wrong with a name, since each of these is a known way to smuggle. */
function lineFault(line: string, nameEnd: number): Http1Fault {
  if (isBlank(line.charCodeAt(0)))
    return new Http1Fault(
      "grammar",
      "a field line begins with white space (obs-fold, RFC 9112 5.2)",
    );
  if (nameEnd === line.length)
    return new Http1Fault("grammar", "a field line has no colon");
  if (isBlank(line.charCodeAt(nameEnd - 1)))
    return new Http1Fault(
      "grammar",
      "white space between field name and colon (RFC 9112 5.1)",
    );
  return new Http1Fault("grammar", "a field name is not a token");
}
