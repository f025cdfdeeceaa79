/** Field blocks to fields (RFC 7541 section 3 and 6): one per direction of a connection. */
import type { Bytes } from "../../../core/units.ts";
import type { Indexing } from "../../fields.ts";
import {
  ConnectionError,
  DEFAULT_TABLE_SIZE,
  ErrorCode,
} from "../frames/frames.ts";
import { DynamicTable } from "./dynamic-table.ts";
import { readContinued, type Cursor } from "./integers.ts";
import { sharedInterner, type Interner } from "./interner.ts";
import type { Name, WireField } from "./names.ts";
import { STATIC_ENTRIES, STATIC_TABLE } from "./static-table.ts";

export interface DecoderLimits {
  /** Bytes of the list, with 32 for each field (RFC 9113 6.5.2). */
  readonly headerListBytes: Bytes;
  readonly headerFields: number;
  /** Bytes of the dynamic table. */
  readonly headerTableBytes: Bytes;
}

function bad(detail: string): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, detail);
}

export class Decoder {
  /** The fields of the block decoded last, up to `count`; the array is used again. */
  readonly fields: WireField[] = [];
  count = 0;
  /** The list was over a limit: the table is up to date, but fields are missing. */
  overflow = false;
  readonly #limits: DecoderLimits;
  readonly #interner: Interner;
  readonly #table: DynamicTable = new DynamicTable(DEFAULT_TABLE_SIZE);
  readonly #cursor: Cursor = { at: 0 };
  /** What the peer may set its table to: SETTINGS_HEADER_TABLE_SIZE of ours (4.2). */
  #tableLimit: number = DEFAULT_TABLE_SIZE;
  #listBytes = 0;
  /** Bytes that the present block has taken from the dynamic table. */
  #referenced = 0;

  constructor(limits: DecoderLimits, interner: Interner = sharedInterner) {
    this.#limits = limits;
    this.#interner = interner;
  }

  /** We announced this SETTINGS_HEADER_TABLE_SIZE; the peer may not have seen it yet, so the table does not shrink by itself. */
  allowTable(size: number): void {
    this.#tableLimit = Math.max(this.#tableLimit, size);
  }

  /** The peer acknowledged it: from now on a larger table is an error, and must be shrunk before the next field (4.2). */
  acknowledgeTable(size: number): void {
    this.#tableLimit = size;
  }

  /** Decodes `source[start, end)`, a whole field block. Throws COMPRESSION_ERROR, which ends the connection (RFC 9113 4.3). */
  decode(source: Buffer, start: number, end: number): void {
    const cursor = this.#cursor;
    const table = this.#table;
    this.count = 0;
    this.#listBytes = 0;
    this.#referenced = 0;
    this.overflow = false;
    cursor.at = start;
    let resizes = 0;
    while (cursor.at < end) {
      const octet = source[cursor.at++] ?? 0;
      if (octet >= 0x80) {
        const index = octet & 0x7f;
        this.#take(
          this.#indexed(
            index < 0x7f ? index : readContinued(index, source, cursor, end),
          ),
        );
      } else if (octet >= 0x40) {
        const field = this.#literal(
          octet & 0x3f,
          0x3f,
          "incremental",
          source,
          end,
        );
        table.add(field);
        this.#take(field);
      } else if (octet >= 0x20) {
        // The smallest since the last block and the present one: more there is no use for (4.2).
        if (++resizes > 2)
          throw bad("a table size update after the first field, or a third");
        this.#resize(octet & 0x1f, source, end);
        continue;
      } else {
        this.#take(
          this.#literal(
            octet & 0x0f,
            0x0f,
            octet >= 0x10 ? "never" : "without",
            source,
            end,
          ),
        );
      }
      resizes = 2;
      if (table.maxSize > this.#tableLimit)
        throw bad("the table was not shrunk to the announced size");
    }
    // The array is reused: fields of an earlier, longer block must not live on in it. To set a length takes V8 its runtime.
    if (this.fields.length > this.count) this.fields.length = this.count;
  }

  #take(field: WireField): void {
    this.#listBytes += field.size;
    if (
      this.#listBytes > this.#limits.headerListBytes ||
      this.count >= this.#limits.headerFields
    )
      this.overflow = true;
    else this.fields[this.count++] = field;
  }

  #resize(prefix: number, source: Buffer, end: number): void {
    const size =
      prefix < 0x1f ? prefix : readContinued(prefix, source, this.#cursor, end);
    if (size > this.#tableLimit)
      throw bad("a table size update above the announced limit");
    this.#table.resize(size);
  }

  #indexed(index: number): WireField {
    const field = this.#entry(index);
    if (index > STATIC_ENTRIES) this.#refer(field.size);
    return field;
  }

  #entry(index: number): WireField {
    const field =
      index <= STATIC_ENTRIES
        ? STATIC_TABLE[index - 1]
        : this.#table.get(index - STATIC_ENTRIES - 1);
    if (field === undefined) throw bad("an index outside the tables");
    return field;
  }

  /**
   * A block that takes more from the table than the table holds has taken something twice. No encoder has a use for that, and a field
   * of kilobytes for each byte that it costs its sender is what makes a bomb.
   */
  #refer(octets: number): void {
    const { headerTableBytes } = this.#limits;
    this.#referenced += octets;
    if (this.#referenced > Math.max(headerTableBytes, DEFAULT_TABLE_SIZE))
      throw new ConnectionError(
        ErrorCode.ENHANCE_YOUR_CALM,
        `a field block that takes more than the ${headerTableBytes} bytes of the table from it`,
        "header_list",
      );
  }

  #literal(
    prefix: number,
    mask: number,
    indexing: Indexing,
    source: Buffer,
    end: number,
  ): WireField {
    const cursor = this.#cursor;
    const index =
      prefix < mask ? prefix : readContinued(prefix, source, cursor, end);
    let name: Name;
    if (index === 0) {
      const start = cursor.at;
      const textEnd = this.#stringEnd(source, end);
      const text = cursor.at;
      cursor.at = textEnd;
      name = this.#interner.name(
        source,
        start,
        text,
        textEnd,
        (source[start] ?? 0) >= 0x80,
      );
    } else {
      name = this.#entry(index).of;
      if (index > STATIC_ENTRIES) this.#refer(name.text.length + 32);
    }
    const start = cursor.at;
    const textEnd = this.#stringEnd(source, end);
    const text = cursor.at;
    cursor.at = textEnd;
    return this.#interner.field(
      name,
      indexing,
      source,
      start,
      text,
      textEnd,
      (source[start] ?? 0) >= 0x80,
    );
  }

  /** Reads the length of a string literal: the cursor is then at its text, whose end is returned. */
  #stringEnd(source: Buffer, end: number): number {
    const cursor = this.#cursor;
    if (cursor.at >= end) throw bad("a field block ends within a field");
    let length = (source[cursor.at++] ?? 0) & 0x7f;
    if (length === 0x7f) length = readContinued(length, source, cursor, end);
    if (length > end - cursor.at)
      throw bad("a field block ends within a string");
    return cursor.at + length;
  }
}
