/** Fields to field blocks (RFC 7541): one per direction of a connection. */
import type { Field, Indexing } from "../../fields.ts";
import type { ByteWriter } from "../write/byte-writer.ts";
import { DEFAULT_TABLE_SIZE } from "../frames/frames.ts";
import { EncoderTable, type NameUse } from "./encoder-table.ts";
import { huffmanEncode, huffmanLength } from "./huffman.ts";
import { readContinued, writeInteger } from "./integers.ts";
import { STATIC_ENTRIES } from "./static-table.ts";

/** The literal of a field that was encoded once: the next time it is worth keeping. */
const ENCODED_ONCE: Buffer = Buffer.alloc(0);

/** What an entry counts for besides its name and value (RFC 7541 4.1). */
const ENTRY_OVERHEAD = 32;

/** Statuses of the static table, by index. */
const STATUS_INDEX: Readonly<Record<number, number>> = {
  200: 8,
  204: 9,
  206: 10,
  304: 11,
  400: 12,
  404: 13,
  500: 14,
};

export class Encoder {
  readonly #table: EncoderTable = new EncoderTable(DEFAULT_TABLE_SIZE);
  /** The most bytes that we keep in a table, whatever the peer allows. */
  readonly #ownLimit: number;
  /** The smallest and the last size since the last block, to be announced by the next one (4.2); -1 for none. */
  #smallest = -1;
  #announced = -1;
  /** Bytes that the present block takes from the table. */
  #referenced = 0;

  constructor(ownLimit: number) {
    this.#ownLimit = ownLimit;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  limitTable(peerLimit: number): void {
    const size = Math.min(peerLimit, this.#ownLimit);
    if (size === this.#table.maxSize) return;
    this.#table.resize(size);
    this.#smallest = this.#smallest < 0 ? size : Math.min(this.#smallest, size);
    this.#announced = size;
  }

  /** Begins a block: announces what became of the table. */
  begin(out: ByteWriter): void {
    this.#referenced = 0;
    if (this.#announced < 0) return;
    if (this.#smallest < this.#announced)
      this.#integer(out, 0x20, 0x1f, this.#smallest);
    this.#integer(out, 0x20, 0x1f, this.#announced);
    this.#smallest = this.#announced = -1;
  }

  /** A field as its sender had it indexed; a connection-specific one must not come here. */
  field(field: Field, out: ByteWriter): void {
    const { name, value, indexing } = field;
    if (indexing !== "incremental") {
      const pattern = indexing === "never" ? 0x10 : 0x00;
      const use = this.#table.use(name);
      this.#name(out, pattern, 0x0f, name, use);
      this.#value(out, field);
      return;
    }
    const use = this.#table.use(name);
    if (!this.#table.worthFinding(use)) {
      this.#name(out, 0x00, 0x0f, name, use);
      if (field.literal === undefined) writePlain(out, value);
      else this.#value(out, field);
      return;
    }
    if (!this.#fromTable(name, value, use, out)) this.#value(out, field);
  }

  /** A field of which there is no object: pseudo-headers and content-length. */
  pair(
    name: string,
    value: string,
    indexing: Exclude<Indexing, "never">,
    out: ByteWriter,
  ): void {
    const use = this.#table.use(name);
    if (indexing === "without" || !this.#table.worthFinding(use)) {
      this.#name(out, 0x00, 0x0f, name, use);
      writePlain(out, value);
      return;
    }
    if (!this.#fromTable(name, value, use, out)) writePlain(out, value);
  }

  /** Writes the index of what the table has; else the name alone, for the value to follow, and false. */
  #fromTable(
    name: string,
    value: string,
    use: NameUse,
    out: ByteWriter,
  ): boolean {
    const found = this.#table.find(use, value);
    if (
      found > 0 &&
      (found <= STATIC_ENTRIES || this.#refers(name.length + value.length))
    ) {
      this.#integer(out, 0x80, 0x7f, found);
      return true;
    }
    if (found === 0 && this.#table.worthIndexing(use)) {
      this.#name(out, 0x40, 0x3f, name, use);
      this.#table.add(use, value);
    } else {
      this.#name(out, 0x00, 0x0f, name, use);
    }
    return false;
  }

  status(status: number, out: ByteWriter): void {
    const index = STATUS_INDEX[status];
    if (index === undefined)
      this.pair(":status", String(status), "incremental", out);
    else this.#integer(out, 0x80, 0x7f, index);
  }

  method(method: string, out: ByteWriter): void {
    if (method === "GET") this.#integer(out, 0x80, 0x7f, 2);
    else if (method === "POST") this.#integer(out, 0x80, 0x7f, 3);
    else this.pair(":method", method, "incremental", out);
  }

  scheme(scheme: string, out: ByteWriter): void {
    if (scheme === "http") this.#integer(out, 0x80, 0x7f, 6);
    else if (scheme === "https") this.#integer(out, 0x80, 0x7f, 7);
    else this.pair(":scheme", scheme, "incremental", out);
  }

  /**
   * Whether the block may take that much more from the table: with more than the table can hold it looks to a decoder like a bomb,
   * which ends the connection of everybody. A caller makes such a block of one large field that it repeats.
   */
  #refers(octets: number): boolean {
    const referenced = this.#referenced + octets + ENTRY_OVERHEAD;
    if (referenced > Math.max(this.#table.maxSize, DEFAULT_TABLE_SIZE))
      return false;
    this.#referenced = referenced;
    return true;
  }

  #integer(
    out: ByteWriter,
    pattern: number,
    prefix: number,
    value: number,
  ): void {
    out.reserve(6);
    out.length = writeInteger(out.bytes, out.length, pattern, prefix, value);
  }

  /** The first byte of a literal, with the name by index where a table has it. */
  #name(
    out: ByteWriter,
    pattern: number,
    prefix: number,
    name: string,
    use: NameUse,
  ): void {
    let index = use.staticIndex;
    if (index === 0) {
      const found = this.#table.indexOfName(use);
      if (found > 0 && this.#refers(name.length)) index = found;
    }
    this.#integer(out, pattern, prefix, index);
    if (index !== 0) return;
    // A name whose values are not indexed never enters the table, and is written each time.
    const literal = (use.literal ??= literalOf(name));
    out.copy(literal, 0, literal.length);
  }

  #value(out: ByteWriter, field: Field): void {
    const { literal } = field;
    if (literal === undefined) {
      writePlain(out, field.value);
      field.literal = ENCODED_ONCE;
      return;
    }
    const whole =
      literal === ENCODED_ONCE
        ? (field.literal = encodeLiteral(field))
        : literal;
    out.copy(whole, valueStart(whole), whole.length);
  }
}

/** Where the value's string literal begins: behind the name's. */
function valueStart(literal: Buffer): number {
  const length = (literal[0] ?? 0) & 0x7f;
  if (length < 0x7f) return 1 + length;
  const cursor = { at: 1 };
  const long = readContinued(0x7f, literal, cursor, literal.length);
  return cursor.at + long;
}

/** The name's and the value's string literals, as `Field.literal` has them. */
function encodeLiteral(field: Field): Buffer {
  const room = field.name.length + field.value.length + 12;
  const literal = Buffer.allocUnsafeSlow(room);
  const at = stringInto(field.name, literal, 0);
  return literal.subarray(0, stringInto(field.value, literal, at));
}

/** A string literal (5.2), Huffman-coded where that is shorter; at most 6 bytes longer than the text. */
function stringInto(text: string, target: Buffer, at: number): number {
  const coded = huffmanLength(text);
  if (coded < text.length)
    return huffmanEncode(
      text,
      target,
      writeInteger(target, at, 0x80, 0x7f, coded),
    );
  const start = writeInteger(target, at, 0x00, 0x7f, text.length);
  if (text.length > 16) return start + target.write(text, start, "latin1");
  for (let i = 0; i < text.length; i++) target[start + i] = text.charCodeAt(i);
  return start + text.length;
}

function literalOf(text: string): Buffer {
  const literal = Buffer.allocUnsafeSlow(text.length + 6);
  return Buffer.from(literal.subarray(0, stringInto(text, literal, 0)));
}

/** As it is, without Huffman coding: fewer bytes are not worth coding a value here and decoding it there, unless it comes again. */
function writePlain(out: ByteWriter, text: string): void {
  out.reserve(text.length + 6);
  const { bytes } = out;
  const at = writeInteger(bytes, out.length, 0x00, 0x7f, text.length);
  out.length = at + bytes.write(text, at, "latin1");
}
