/** Integers with an N-bit prefix (RFC 7541 5.1). */
import { ConnectionError, ErrorCode } from "../frames/frames.ts";

/** A place in a field block: the readers of integers and strings move it on. */
export interface Cursor {
  at: number;
}

function bad(detail: string): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, detail);
}

/**
 * Reads what follows a prefix of all ones (`prefix` is its value) and moves the cursor behind it.
 * Four continuation bytes (28 bits) are more than any limit of ours lets through; longer ones are refused (RFC 7541 7.4).
 */
export function readContinued(
  prefix: number,
  source: Buffer,
  cursor: Cursor,
  end: number,
): number {
  let value = prefix;
  for (let shift = 0; shift <= 21; shift += 7) {
    if (cursor.at >= end) throw bad("a field block ends within an integer");
    const octet = source[cursor.at++] ?? 0;
    value += (octet & 0x7f) << shift;
    if (octet < 0x80) return value;
  }
  throw bad("an integer of a field block is too large");
}

/** Writes `value` with the high bits `pattern` before an N-bit prefix of all ones `prefix`; gives the place behind it. At most 6 bytes. */
export function writeInteger(
  target: Buffer,
  at: number,
  pattern: number,
  prefix: number,
  value: number,
): number {
  if (value < prefix) {
    target[at] = pattern | value;
    return at + 1;
  }
  target[at++] = pattern | prefix;
  let rest = value - prefix;
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at] = rest;
  return at + 1;
}
