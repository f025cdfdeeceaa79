/** W3C Trace Context (Level 1, 2021-11-23): reading and writing `traceparent`, and the ids in it. */
import { randomFillSync } from "node:crypto";

export interface TraceContext {
  /** 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits, not all zero. */
  readonly spanId: string;
  readonly sampled: boolean;
}

const NO_TRACE = "0".repeat(32);
const NO_SPAN = "0".repeat(16);
const VERSION_00 = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
/** A later version may append fields after a dash; what we know of it must still parse (section 4.3). */
const LATER =
  /^(?!ff|00)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/;

/** Undefined where the value is invalid: then a new trace begins (section 3.2.2.3). */
export function parseTraceparent(value: string): TraceContext | undefined {
  const found = VERSION_00.exec(value) ?? LATER.exec(value);
  if (found === null) return undefined;
  const [, traceId = NO_TRACE, spanId = NO_SPAN, flags = "00"] = found;
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export function formatTraceparent(context: TraceContext): string {
  return `00-${context.traceId}-${context.spanId}-${context.sampled ? "01" : "00"}`;
}

/** Random octets are drawn by the block: one system call serves hundreds of ids. */
const pool = Buffer.allocUnsafe(4096);
let used = pool.length;

function randomHex(octets: number): string {
  if (used + octets > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const text = pool.toString("hex", used, used + octets);
  used += octets;
  return text;
}

export function newTraceId(): string {
  const id = randomHex(16);
  return id === NO_TRACE ? newTraceId() : id;
}

export function newSpanId(): string {
  const id = randomHex(8);
  return id === NO_SPAN ? newSpanId() : id;
}
