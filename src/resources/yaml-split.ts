/** Cuts a text of several YAML documents into texts of one each, which can be told apart without being parsed. */

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

/**
 * The parts of the text in order: parsed one by one they give what the whole gives. "---" at the beginning of a line begins a document, and
 * YAML allows it nowhere within one. A line that is only that belongs to no part, so that the first document of a file is like the others.
 */
export function* splitDocuments(text: Buffer): Generator<Part, void> {
  let start = 0;
  if (!staysWhole(text)) {
    if (text.subarray(0, 3).equals(MARKER.subarray(1)))
      start = afterBareMarker(text, 0);
    for (
      let found = text.indexOf(MARKER, Math.max(0, start - 1));
      found >= 0;
      found = text.indexOf(MARKER, Math.max(found + 1, start - 1))
    ) {
      if (!isBlank(text[found + MARKER.length])) continue;
      // The line's end is the part's before.
      yield { start, end: found + 1 };
      start = afterBareMarker(text, found + 1);
    }
  }
  yield { start, end: text.length };
}

/** The line after the marker that is there, or the marker itself where more is on its line. */
function afterBareMarker(text: Buffer, marker: number): number {
  const end = marker + MARKER.length - 1;
  if (text[end] === NEWLINE) return end + 1;
  return text[end] === RETURN && text[end + 1] === NEWLINE ? end + 2 : marker;
}

function staysWhole(text: Buffer): boolean {
  return (
    WHOLE.some((mark) => text.includes(mark)) ||
    WHOLE_AT_START.some((mark) => text.subarray(0, mark.length).equals(mark))
  );
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
