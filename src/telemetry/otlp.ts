/**
 * Spans in OTLP's protobuf (opentelemetry-proto 1.x, trace.proto and common.proto), written into the message of their batch as they
 * end: nothing of them is kept that the collector of garbage would have to look after, and no batch is encoded in one go.
 */
import { createTraceState, type Attributes } from "@opentelemetry/api";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { memo } from "../core/memo.ts";
import type { OtlpMessages, SpanBatch } from "./span-transport.ts";
import type { AttributeValue, SpanRecord } from "./tracing.ts";

/** Bytes of a new batch's message. */
const FIRST_SIZE = 65_536;
/** Bytes of the lengths and tags in front of the first span, besides the resource's and the scope's own. */
const PREFIX_AT_MOST = 32;

const SCOPE = "wherry";

/** Tags: the field's number, and how its value is written. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

const SERVER = 2;
const CLIENT = 3;
const STATUS_ERROR = 2;

/** SpanFlags: sampled and random, as in `traceparent`; whether the parent came from elsewhere is known; it did. */
const SAMPLED = 0x01;
const RANDOM = 0x02;
const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

/** Bytes of the longest text whose message has a length of one byte. */
const SHORT = 125;

/** How a transport sends a batch. */
export const spanMessages: OtlpMessages<SpanBatch> = {
  signal: "traces",
  items: "span",
  serializeRequest: (batch) => batch.message(),
  deserializeResponse: (octets) =>
    ProtobufTraceSerializer.deserializeResponse(octets),
  count: ({ spans }) => spans,
};

/** A batch of the spans of one resource: its message is an ExportTraceServiceRequest. */
export function makeSpanBatch(resource: Attributes): SpanBatch {
  const own = new Writer(256);
  for (const [key, value] of Object.entries(resource))
    if (isValue(value)) own.attribute(1, key, value);
  const described = own.written();
  const start = PREFIX_AT_MOST + described.length + SCOPE.length;
  const out = new Writer(FIRST_SIZE);
  out.position = start;
  let spans = 0;
  return {
    get spans() {
      return spans;
    },
    get octets() {
      return out.position - start;
    },
    add(span) {
      spans += 1;
      out.span(span);
    },
    message: () => out.request(start, described),
    clear() {
      spans = 0;
      out.position = start;
    },
  };
}

function isValue(value: unknown): value is AttributeValue {
  return (
    typeof value === "string" ||
    typeof value === "number" ||
    typeof value === "boolean"
  );
}

class Writer {
  position = 0;
  #octets: Buffer;

  constructor(size: number) {
    this.#octets = Buffer.allocUnsafeSlow(size);
  }

  written(): Buffer {
    return this.#octets.subarray(0, this.position);
  }

  /** What stands from `start` on, as the spans of the one scope of the one resource. */
  request(start: number, resource: Uint8Array): Buffer {
    const spans = this.position - start;
    const scope = 1 + lengthOf(SCOPE.length) + SCOPE.length;
    const scopeSpans = 1 + lengthOf(scope) + scope + spans;
    const resourceSpans =
      1 +
      lengthOf(resource.length) +
      resource.length +
      1 +
      lengthOf(scopeSpans) +
      scopeSpans;
    const from = start - (1 + lengthOf(resourceSpans) + resourceSpans - spans);
    const end = this.position;
    this.position = from;
    this.#tag(1, LENGTH_DELIMITED);
    this.#varint(resourceSpans);
    this.#tag(1, LENGTH_DELIMITED);
    this.#varint(resource.length);
    this.#octets.set(resource, this.position);
    this.position += resource.length;
    this.#tag(2, LENGTH_DELIMITED);
    this.#varint(scopeSpans);
    this.#tag(1, LENGTH_DELIMITED);
    this.#varint(scope);
    this.#text(1, SCOPE);
    this.position = end;
    return this.#octets.subarray(from, end);
  }

  span(span: SpanRecord): void {
    const { parentSpanId, traceState, error } = span;
    const begun = this.#begin(2);
    this.#hex(1, span.traceId);
    this.#hex(2, span.spanId);
    // The SDK's own parser leaves out anything but a list of the W3C's form.
    if (traceState !== undefined)
      this.#text(3, createTraceState(traceState).serialize());
    if (parentSpanId !== undefined) this.#hex(4, parentSpanId);
    this.#text(5, span.name);
    this.#room(32);
    this.#tag(6, VARINT);
    this.#varint(span.kind === "server" ? SERVER : CLIENT);
    this.#time(7, span.start);
    this.#time(8, span.end);
    const { attributes } = span;
    for (const key in attributes) {
      const value = attributes[key];
      if (value !== undefined) this.attribute(9, key, value);
    }
    if (error !== undefined) {
      const status = this.#begin(15);
      this.#text(2, error);
      this.#room(2);
      this.#tag(3, VARINT);
      this.#varint(STATUS_ERROR);
      this.#end(status);
    }
    this.#room(8);
    this.#tag(16, FIXED32);
    const remote = parentSpanId !== undefined && span.kind === "server";
    this.position = this.#octets.writeUInt32LE(
      SAMPLED |
        (span.random ? RANDOM : 0) |
        HAS_IS_REMOTE |
        (remote ? IS_REMOTE : 0),
      this.position,
    );
    this.#end(begun);
  }

  /** A key, and its tag. */
  key(key: string): void {
    this.#text(1, key);
  }

  /** A KeyValue. */
  attribute(field: number, key: string, value: AttributeValue): void {
    if (typeof value === "string" && this.#plainPair(field, key, value)) return;
    const pair = this.#begin(field);
    this.key(key);
    const any = this.#begin(2);
    if (typeof value === "string") this.#text(1, value);
    else this.#scalar(value);
    this.#end(any);
    this.#end(pair);
  }

  #scalar(value: number | boolean): void {
    this.#room(12);
    if (typeof value === "boolean") {
      this.#tag(2, VARINT);
      this.#varint(value ? 1 : 0);
    } else if (Number.isInteger(value) && Math.abs(value) < 2 ** 63) {
      this.#tag(3, VARINT);
      if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) this.#varint(value);
      else this.#int64(value);
    } else {
      this.#tag(4, FIXED64);
      this.position = this.#octets.writeDoubleLE(value, this.position);
    }
  }

  /** A pair whose value is short and in ASCII, as nearly all are: no length in it but the whole's has two bytes. False, and nothing, for others. */
  #plainPair(field: number, key: string, value: string): boolean {
    const { length } = value;
    if (length > SHORT) return false;
    const before = this.position;
    const name = nameOf(key);
    const pair = name.length + 4 + length;
    this.#room(pair + 8);
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(pair);
    const octets = this.#octets;
    octets.set(name, this.position);
    const any = this.position + name.length;
    octets[any] = (2 << 3) | LENGTH_DELIMITED;
    octets[any + 1] = 2 + length;
    octets[any + 2] = (1 << 3) | LENGTH_DELIMITED;
    octets[any + 3] = length;
    this.position = any + 4;
    if (this.#ascii(value)) return true;
    this.position = before;
    return false;
  }

  #text(field: number, text: string): void {
    const before = this.position;
    this.#room(text.length + 8);
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(text.length);
    if (this.#ascii(text)) return;
    this.position = before;
    const octets = Buffer.from(text);
    this.#room(octets.length + 8);
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(octets.length);
    this.#octets.set(octets, this.position);
    this.position += octets.length;
  }

  /** Whether it was; where it was not, what is written is of no use. There is room. */
  #ascii(text: string): boolean {
    const octets = this.#octets;
    let position = this.position;
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      if (code > 0x7f) return false;
      octets[position] = code;
      position += 1;
    }
    this.position = position;
    return true;
  }

  #hex(field: number, digits: string): void {
    const length = digits.length >> 1;
    this.#room(length + 4);
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(length);
    for (let index = 0; index < digits.length; index += 2) {
      this.#octets[this.position] =
        (nibble(digits.charCodeAt(index)) << 4) |
        nibble(digits.charCodeAt(index + 1));
      this.position += 1;
    }
  }

  /** Milliseconds as nanoseconds in 64 bits, of which a number holds 53: by parts that it holds. */
  #time(field: number, ms: number): void {
    const whole = Math.floor(ms);
    const upper = Math.floor(whole / 0x10_0000) * 1_000_000;
    const lower =
      (whole % 0x10_0000) * 1_000_000 + Math.round((ms - whole) * 1_000_000);
    const low = (upper % 0x1000) * 0x10_0000 + lower;
    this.#tag(field, FIXED64);
    const octets = this.#octets;
    octets.writeUInt32LE(low % 0x1_0000_0000, this.position);
    this.position = octets.writeUInt32LE(
      Math.floor(upper / 0x1000) + Math.floor(low / 0x1_0000_0000),
      this.position + 4,
    );
  }

  /** A message within the message; its length has two bytes until `#end` knows better. */
  #begin(field: number): number {
    this.#room(8);
    this.#tag(field, LENGTH_DELIMITED);
    this.position += 2;
    return this.position;
  }

  #end(begun: number): void {
    const length = this.position - begun;
    const octets = lengthOf(length);
    if (octets !== 2) {
      this.#room(octets);
      this.#octets.copyWithin(begun - 2 + octets, begun, this.position);
    }
    this.position = begun - 2;
    this.#varint(length);
    this.position += length;
  }

  /** The last of the 16 and more fields of a span has a tag of two bytes. */
  #tag(field: number, form: number): void {
    this.#varint((field << 3) | form);
  }

  /** In two's complement, which is ten bytes for what is below zero. */
  #int64(value: number): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 0x7fn; rest >>= 7n) {
      this.#octets[this.position] = Number(rest & 0x7fn) | 0x80;
      this.position += 1;
    }
    this.#octets[this.position] = Number(rest);
    this.position += 1;
  }

  /** There is room. */
  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.#octets[this.position] = (rest % 0x80) | 0x80;
      this.position += 1;
      rest = Math.floor(rest / 0x80);
    }
    this.#octets[this.position] = rest;
    this.position += 1;
  }

  #room(octets: number): void {
    const size = this.#octets.length;
    if (this.position + octets <= size) return;
    const larger = Buffer.allocUnsafeSlow(
      Math.max(2 * size, this.position + octets),
    );
    this.#octets.copy(larger, 0, 0, this.position);
    this.#octets = larger;
  }
}

/** A key as a KeyValue has it. There are few, and each span has a dozen. */
const nameOf = memo((key) => {
  const writer = new Writer(32);
  writer.key(key);
  return writer.written();
});

/** Bytes of a varint. */
function lengthOf(value: number): number {
  let octets = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80))
    octets += 1;
  return octets;
}

/** Value of a hexadecimal digit; ids are ours, or have passed the grammar of `traceparent`. */
function nibble(code: number): number {
  return code < 0x3a ? code - 0x30 : (code | 0x20) - 0x57;
}
