/** B3 Propagation (openzipkin): the one field `b3` and the several `x-b3-*`, read and written. */
import type { Propagator } from "../resources/mesh/schema.ts";
import { makeField, type Field } from "../wire/fields.ts";
import type { TraceContext } from "./trace-context.ts";

/** The two forms as bits, for a request may bring both. */
export const B3_SINGLE = 1;
export const B3_MULTI = 2;

/** The forms that go by these names. */
export function formsOf(propagators: readonly Propagator[]): number {
  let forms = 0;
  for (const each of propagators) forms |= each === "b3" ? B3_SINGLE : B3_MULTI;
  return forms;
}

/** What B3 says of a trace. */
export interface B3Context {
  /** Undefined where only a decision came. */
  readonly ids:
    | { readonly traceId: string; readonly spanId: string }
    | undefined;
  /** Undefined where the decision is left to the recipient. */
  readonly sampled: boolean | undefined;
  /** Recorded by all, whatever they sample. */
  readonly debug: boolean;
}

/** Values of the several fields; undefined where there is none. */
export interface B3Fields {
  readonly traceId: string | undefined;
  readonly spanId: string | undefined;
  readonly sampled: string | undefined;
  readonly flags: string | undefined;
}

const TRACE_ID = /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/;
const SPAN_ID = /^[0-9a-f]{16}$/;
/** Ids, a decision, and the parent of the span, each but the first only after the ones before; or a decision alone. */
const SINGLE =
  /^(?:([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?|([01d]))$/;
const NO_DIGITS = /^0+$/;
const UPPER_HALF = "0".repeat(16);

/** Undefined where the value is malformed. */
export function parseB3(value: string): B3Context | undefined {
  const [, traceId, spanId, decision, alone] = SINGLE.exec(value) ?? [];
  const said = decision ?? alone;
  const sampled = said === undefined ? undefined : said !== "0";
  if (traceId === undefined || spanId === undefined)
    return said === undefined
      ? undefined
      : { ids: undefined, sampled, debug: said === "d" };
  const ids = idsOf(traceId, spanId);
  return ids === undefined ? undefined : { ids, sampled, debug: said === "d" };
}

/** Undefined where any of the values is malformed, or one id stands without the other. */
export function parseB3Fields(fields: B3Fields): B3Context | undefined {
  const { traceId, spanId } = fields;
  const sampled = decisionOf(fields.sampled);
  if (sampled === null || !/^[01]?$/.test(fields.flags ?? "")) return undefined;
  const debug = fields.flags === "1";
  const decision = debug ? true : sampled;
  if (traceId === undefined && spanId === undefined)
    return decision === undefined
      ? undefined
      : { ids: undefined, sampled: decision, debug };
  if (
    traceId === undefined ||
    spanId === undefined ||
    !TRACE_ID.test(traceId) ||
    !SPAN_ID.test(spanId)
  )
    return undefined;
  const ids = idsOf(traceId, spanId);
  return ids === undefined ? undefined : { ids, sampled: decision, debug };
}

/** Null where the value is malformed. Old tracers wrote words, and the specification asks to read them. */
function decisionOf(value: string | undefined): boolean | undefined | null {
  if (value === undefined) return undefined;
  if (value === "1" || value === "true") return true;
  return value === "0" || value === "false" ? false : null;
}

/** A trace id of 64 bits is the lower half of one of 128. */
function idsOf(traceId: string, spanId: string): B3Context["ids"] {
  if (NO_DIGITS.test(traceId) || NO_DIGITS.test(spanId)) return undefined;
  return { traceId: traceId.padStart(32, "0"), spanId };
}

/** A context that B3 fields are to tell of. */
export interface B3Outgoing extends Omit<TraceContext, "random"> {
  readonly debug: boolean;
  readonly parentSpanId: string | undefined;
}

/** The fields of these forms. Debug is a decision too: the several fields say it in place of one. */
export function b3Fields(forms: number, context: B3Outgoing): Field[] {
  const { spanId, parentSpanId, sampled, debug } = context;
  // Callers that know 64 bits alone get back what they sent.
  const traceId = context.traceId.startsWith(UPPER_HALF)
    ? context.traceId.slice(16)
    : context.traceId;
  const decision = sampled ? "1" : "0";
  const fields: Field[] = [];
  const add = (name: string, value: string): void => {
    fields.push(makeField(name, value, "without"));
  };
  if ((forms & B3_SINGLE) !== 0) {
    const parent = parentSpanId === undefined ? "" : `-${parentSpanId}`;
    add("b3", `${traceId}-${spanId}-${debug ? "d" : decision}${parent}`);
  }
  if ((forms & B3_MULTI) !== 0) {
    add("x-b3-traceid", traceId);
    add("x-b3-spanid", spanId);
    if (parentSpanId !== undefined) add("x-b3-parentspanid", parentSpanId);
    if (debug) add("x-b3-flags", "1");
    else add("x-b3-sampled", decision);
  }
  return fields;
}
