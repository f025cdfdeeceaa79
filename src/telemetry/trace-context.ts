/** W3C Trace Context (Level 2): reading and writing `traceparent`, and the ids in it. */
import { randomFillSync } from "node:crypto";

export interface TraceContext {
  /** 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits, not all zero. */
  readonly spanId: string;
  readonly sampled: boolean;
  /** The rightmost 56 bits of the trace id were drawn at random (Level 2, section 3.2.2.5.2). */
  readonly random: boolean;
}

/** Bits of `trace-flags`; the others are set to 0 (section 3.2.2.5.3). */
const SAMPLED = 1;
const RANDOM = 2;

const NO_TRACE = "0".repeat(32);
const NO_SPAN = "0".repeat(16);
const DASH = 0x2d;
const ZERO = 0x30;
/** Lower-case hexadecimal digits by character code. */
const HEX = new Uint8Array(128);
for (const digit of "0123456789abcdef") HEX[digit.charCodeAt(0)] = 1;
/** A later version may append fields after a dash; what we know of it must still parse (section 4.3). */
const LATER =
  /^(?!ff|00)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:$|-)/;

/** Undefined where the value is invalid: then a new trace begins (section 3.2.2.3). */
export function parseTraceparent(value: string): TraceContext | undefined {
  if (!isVersion00(value) && !LATER.test(value)) return undefined;
  const traceId = value.slice(3, 35);
  const spanId = value.slice(36, 52);
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined;
  const flags = Number.parseInt(value.slice(53, 55), 16);
  return {
    traceId,
    spanId,
    sampled: (flags & SAMPLED) !== 0,
    random: (flags & RANDOM) !== 0,
  };
}

/** version 00 "-" trace-id "-" parent-id "-" trace-flags. Every request brings one: by hand it takes a fifth of the pattern's time. */
function isVersion00(value: string): boolean {
  if (value.length !== 55) return false;
  for (let at = 0; at < 55; at += 1) {
    const code = value.charCodeAt(at);
    if (at === 2 || at === 35 || at === 52) {
      if (code !== DASH) return false;
    } else if (at < 2) {
      if (code !== ZERO) return false;
    } else if (HEX[code] !== 1) return false;
  }
  return true;
}

export function formatTraceparent(context: TraceContext): string {
  const { traceId, spanId, sampled, random } = context;
  const flags = (sampled ? SAMPLED : 0) | (random ? RANDOM : 0);
  return `00-${traceId}-${spanId}-0${flags}`;
}

/** Random bytes are drawn by the block: one system call serves hundreds of ids. */
const pool = Buffer.allocUnsafe(4096);
let used = pool.length;

/** Where in the pool `count` bytes lie that nobody has had yet. */
function draw(count: number): number {
  if (used + count > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += count;
  return used - count;
}

function randomHex(count: number): string {
  const from = draw(count);
  return pool.toString("hex", from, from + count);
}

const template = Buffer.from(
  formatTraceparent({
    traceId: NO_TRACE,
    spanId: NO_SPAN,
    sampled: false,
    random: true,
  }),
);
const DIGITS = Buffer.from("0123456789abcdef");

/** The `traceparent` of a new trace that is not recorded. Most requests begin one: digit by digit into one text is half the price of two ids put together. */
export function newUnsampledTraceparent(): string {
  let from = draw(24);
  let traceId = 0;
  let spanId = 0;
  for (let at = 3; at < 52; at += 2) {
    if (at === 35) at = 36;
    const byte = pool[from++] ?? 0;
    if (at < 35) traceId |= byte;
    else spanId |= byte;
    template[at] = DIGITS[byte >> 4] ?? 0;
    template[at + 1] = DIGITS[byte & 15] ?? 0;
  }
  // Ids of zeros alone are invalid (section 3.2.2.3).
  return traceId === 0 || spanId === 0
    ? newUnsampledTraceparent()
    : template.toString("latin1");
}

export function newTraceId(): string {
  const id = randomHex(16);
  return id === NO_TRACE ? newTraceId() : id;
}

export function newSpanId(): string {
  const id = randomHex(8);
  return id === NO_SPAN ? newSpanId() : id;
}
