/** Cuts a text of several YAML documents into texts of one each, which can be told apart without being parsed. */
import type { Steps } from "../core/slices.ts";

/** Offsets in bytes. */
export interface Part {
  readonly start: number;
  readonly end: number;
}

const MARKER = Buffer.from("\n---");
const SPACE = 0x20;
const TAB = 0x09;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
/** A directive, the end of a document and a byte order mark say something to the parser only where they stand: such texts stay whole. */
const WHOLE = ["\n%", "\n...", "\n\ufeff"].map((text) => Buffer.from(text));
const WHOLE_AT_START = ["%", "...", "\ufeff%", "\ufeff..."].map((text) =>
  Buffer.from(text),
);

/** Bytes that are searched in one step. */
const PIECE = 64 * 1024;

/**
 * The parts of the text in order: parsed one by one they give what the whole gives. "---" at the beginning of a line begins a document, and
 * YAML allows it nowhere within one. A line that is only that belongs to no part, so that the first document of a file is like the others.
 */
export function* splitDocuments(text: Buffer): Steps<Part[]> {
  const parts: Part[] = [];
  let start = 0;
  if (!(yield* staysWhole(text))) {
    if (text.subarray(0, 3).equals(MARKER.subarray(1)))
      start = afterBareMarker(text, 0);
    for (
      let found = yield* find(text, MARKER, Math.max(0, start - 1));
      found >= 0;
      found = yield* find(text, MARKER, Math.max(found + 1, start - 1))
    ) {
      if (!isBlank(text[found + MARKER.length])) continue;
      yield;
      // The line's end is the part's before.
      parts.push({ start, end: found + 1 });
      start = afterBareMarker(text, found + 1);
    }
  }
  parts.push({ start, end: text.length });
  return parts;
}

/** As `indexOf`. */
function* find(text: Buffer, mark: Buffer, from: number): Steps<number> {
  for (let at = from; at < text.length; at += PIECE) {
    if (at > from) yield;
    const found = text.subarray(at, at + PIECE + mark.length - 1).indexOf(mark);
    if (found >= 0) return at + found;
  }
  return -1;
}

/** The line after the marker that is there, or the marker itself where more is on its line. */
function afterBareMarker(text: Buffer, marker: number): number {
  const end = marker + MARKER.length - 1;
  if (text[end] === NEWLINE) return end + 1;
  return text[end] === RETURN && text[end + 1] === NEWLINE ? end + 2 : marker;
}

function* staysWhole(text: Buffer): Steps<boolean> {
  if (WHOLE_AT_START.some((mark) => text.subarray(0, mark.length).equals(mark)))
    return true;
  for (const mark of WHOLE) if ((yield* find(text, mark, 0)) >= 0) return true;
  return false;
}

function isBlank(byte: number | undefined): boolean {
  return (
    byte === undefined ||
    byte === SPACE ||
    byte === TAB ||
    byte === NEWLINE ||
    byte === RETURN
  );
}
