/**
 * One shared object for each header field that keeps coming: found by the bytes on the wire, so a hit decodes nothing. It outlives
 * the requests and is shared by all callers: no credential, nothing that its sender wants never indexed, and no query is kept.
 */
import { FieldClass } from "../../../mesh/field-class.ts";
import { mayOutlive, type Indexing } from "../../fields.ts";
import { ConnectionError, ErrorCode } from "../frames/frames.ts";
import { huffmanDecode } from "./huffman.ts";
import { Name, WireField } from "./names.ts";

/** Slots of the cache of fields, a power of two; an entry is at most about 1 KiB with its literal. */
const FIELD_SLOTS = 4096;
const NAME_SLOTS = 512;
/** Longer values are tokens and the like, which rarely repeat: not worth their hash. Bytes. */
const LONGEST_VALUE = 384;
const LONGEST_NAME = 96;
/** Names whose values are secrets, or are another for each request: not even hashed. */
const NEVER_AGAIN = FieldClass.SENSITIVE | FieldClass.TRACE;

/** Huffman codes are at least five bits long, so an encoding grows by 8/5 at most. */
let scratch = Buffer.allocUnsafeSlow(65_536);

/** Decodes the bytes of a string literal (RFC 7541 5.2). */
function decodeText(
  source: Buffer,
  start: number,
  end: number,
  huffman: boolean,
): string {
  if (!huffman) return source.toString("latin1", start, end);
  const room = (end - start) * 2 + 2;
  if (scratch.length < room) scratch = Buffer.allocUnsafeSlow(room);
  const length = huffmanDecode(source, start, end, scratch);
  if (length < 0)
    throw new ConnectionError(
      ErrorCode.COMPRESSION_ERROR,
      "a string of a field block is not valid Huffman code",
    );
  return scratch.toString("latin1", 0, length);
}

/** FNV-1a; of long strings the two ends, since every hit is checked byte for byte anyway. */
function hashOf(
  seed: number,
  source: Buffer,
  start: number,
  end: number,
): number {
  let hash = seed ^ (end - start);
  let at = start;
  if (end - start > 64) {
    for (const headEnd = start + 32; at < headEnd; at++)
      hash = Math.imul(hash ^ (source[at] ?? 0), 0x01000193);
    at = end - 32;
  }
  for (; at < end; at++) hash = Math.imul(hash ^ (source[at] ?? 0), 0x01000193);
  return hash ^ (hash >>> 15);
}

/** Whether `literal` from `from` on is `source[start, end)`. */
function sameOctets(
  literal: Buffer,
  from: number,
  source: Buffer,
  start: number,
  end: number,
): boolean {
  const length = end - start;
  if (literal.length - from !== length) return false;
  if (length > 96)
    return source.compare(literal, from, from + length, start, end) === 0;
  for (let i = 0; i < length; i++)
    if (literal[from + i] !== source[start + i]) return false;
  return true;
}

/**
 * Bounded, of two ways: a field displaces the older of two neighbours. A field enters when it is seen for the second time
 * in its slot, so that unique values (ids, paths) cost no copy and displace nothing.
 */
export class Interner {
  readonly #fields: (WireField | undefined)[] = new Array<undefined>(
    FIELD_SLOTS,
  ).fill(undefined);
  readonly #seen: Int32Array = new Int32Array(FIELD_SLOTS);
  readonly #names: (Name | undefined)[] = new Array<undefined>(NAME_SLOTS).fill(
    undefined,
  );

  /** The name whose string literal is `source[start, end)`, its text from `text` on. */
  name(
    source: Buffer,
    start: number,
    text: number,
    end: number,
    huffman: boolean,
  ): Name {
    const hash = hashOf(0x811c9dc5, source, start, end);
    const slot = hash & (NAME_SLOTS - 1);
    const known = this.#names[slot];
    if (
      known?.seed === hash &&
      sameOctets(known.literal, 0, source, start, end)
    )
      return known;
    const literal = Buffer.allocUnsafeSlow(end - start);
    source.copy(literal, 0, start, end);
    const name = new Name(
      decodeText(source, text, end, huffman),
      literal,
      hash,
    );
    if (end - start <= LONGEST_NAME) this.#names[slot] = name;
    return name;
  }

  /** The field of `name` whose value's string literal is `source[start, end)`, its text from `text` on. */
  field(
    name: Name,
    indexing: Indexing,
    source: Buffer,
    start: number,
    text: number,
    end: number,
    huffman: boolean,
  ): WireField {
    if (
      indexing === "never" ||
      (name.bits & NEVER_AGAIN) !== 0 ||
      end - start > LONGEST_VALUE
    ) {
      const value = decodeText(source, text, end, huffman);
      return new WireField(name, value, indexing, undefined, 0);
    }
    const hash = hashOf(name.seed, source, start, end);
    const slot = hash & (FIELD_SLOTS - 1);
    const first = this.#fields[slot];
    if (isIt(first, hash, name, indexing, source, start, end)) return first;
    const second = this.#fields[slot ^ 1];
    if (isIt(second, hash, name, indexing, source, start, end)) return second;
    const value = decodeText(source, text, end, huffman);
    if (this.#seen[slot] !== hash || !mayOutlive(name.bits, value)) {
      this.#seen[slot] = hash;
      return new WireField(name, value, indexing, undefined, hash);
    }
    const { length } = name.literal;
    const literal = Buffer.allocUnsafeSlow(length + end - start);
    name.literal.copy(literal);
    source.copy(literal, length, start, end);
    const field = new WireField(name, value, indexing, literal, hash);
    this.#fields[slot ^ 1] = first;
    this.#fields[slot] = field;
    return field;
  }
}

function isIt(
  field: WireField | undefined,
  hash: number,
  name: Name,
  indexing: Indexing,
  source: Buffer,
  start: number,
  end: number,
): field is WireField {
  return (
    field !== undefined &&
    field.hash === hash &&
    field.name === name.text &&
    field.indexing === indexing &&
    field.literal !== undefined &&
    sameOctets(field.literal, field.of.literal.length, source, start, end)
  );
}

/** Shared by all connections of the process: what one caller sends, the others send too. */
export const sharedInterner: Interner = new Interner();
