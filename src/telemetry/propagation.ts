/** The trace context of a request: what its header fields say, in W3C's form or B3's, and what of them goes on. */
import { FieldClass } from "../mesh/field-class.ts";
import { makeField, type Field, type Fields } from "../wire/fields.ts";
import {
  B3_MULTI,
  B3_SINGLE,
  b3Fields,
  parseB3,
  parseB3Fields,
  type B3Context,
} from "./b3.ts";
import {
  formatTraceparent,
  newSpanId,
  newTraceId,
  newUnsampledTraceparent,
  parseTraceparent,
  type TraceContext,
} from "./trace-context.ts";
import { readTraceState } from "./trace-state.ts";

export interface Incoming {
  readonly parent: Omit<TraceContext, "sampled"> | undefined;
  /** Whether the trace is recorded, where the caller has decided that. */
  readonly sampled: boolean | undefined;
  /** B3's debug flag. */
  readonly debug: boolean;
  readonly state: string | undefined;
  /** Forms of B3 that came, well-formed or not: a caller that sends them reads them. */
  readonly forms: number;
  /** The field that came, where it goes on unchanged if nothing is recorded. */
  readonly traceparent: Field | undefined;
}

const NOTHING: Incoming = {
  parent: undefined,
  sampled: undefined,
  debug: false,
  state: undefined,
  forms: 0,
  traceparent: undefined,
};

export function readContext(fields: Fields): Incoming {
  let traceparent: Field | undefined;
  let list: string | undefined;
  let repeated = false;
  let forms = 0;
  for (const field of fields) {
    if ((field.bits & FieldClass.TRACE) === 0) continue;
    if (field.name === "tracestate") {
      list = list === undefined ? field.value : `${list},${field.value}`;
    } else if (field.name === "traceparent") {
      repeated = traceparent !== undefined;
      traceparent = field;
    } else forms |= field.name === "b3" ? B3_SINGLE : B3_MULTI;
  }
  // A repeated traceparent is as good as none, and tracestate means nothing without it (section 3.3.1.3).
  const parent =
    traceparent === undefined || repeated
      ? undefined
      : parseTraceparent(traceparent.value);
  if (traceparent !== undefined && parent !== undefined)
    return {
      parent,
      sampled: parent.sampled,
      // The flag is of the same trace only where the ids are.
      debug: forms !== 0 && isDebugOf(fields, forms, parent.traceId),
      state: list === undefined ? undefined : readTraceState(list),
      forms,
      traceparent: ownVersion(traceparent, parent),
    };
  if (forms === 0) return NOTHING;
  const b3 = readB3(fields, forms);
  return {
    ...NOTHING,
    forms,
    parent: b3?.ids === undefined ? undefined : { ...b3.ids, random: false },
    sampled: b3?.sampled,
    debug: b3?.debug ?? false,
  };
}

function isDebugOf(fields: Fields, forms: number, traceId: string): boolean {
  const b3 = readB3(fields, forms);
  return b3?.debug === true && b3.ids?.traceId === traceId;
}

/** The one field is preferred to the several. */
function readB3(fields: Fields, forms: number): B3Context | undefined {
  const values = new Map<string, string>();
  for (const { name, value, bits } of fields) {
    if ((bits & FieldClass.TRACE) === 0) continue;
    // What came twice says nothing: an empty value is malformed.
    values.set(name, values.has(name) ? "" : value);
  }
  const single = values.get("b3");
  const read = single === undefined ? undefined : parseB3(single);
  if (read !== undefined || (forms & B3_MULTI) === 0) return read;
  return parseB3Fields({
    traceId: values.get("x-b3-traceid"),
    spanId: values.get("x-b3-spanid"),
    sampled: values.get("x-b3-sampled"),
    flags: values.get("x-b3-flags"),
  });
}

const ZERO = 0x30;
const THREE = 0x33;

/** The field itself, unless it says what this version does not know: then it is written anew (section 4.3, and 3.2.2.5.3 for flags). */
function ownVersion(field: Field, parent: TraceContext): Field {
  const { value } = field;
  const known =
    value.length === 55 &&
    value.charCodeAt(0) === ZERO &&
    value.charCodeAt(1) === ZERO &&
    value.charCodeAt(53) === ZERO &&
    value.charCodeAt(54) <= THREE;
  return known
    ? field
    : makeField("traceparent", formatTraceparent(parent), "without");
}

/** The id and the fields of a request of which nothing is reported here. `forms`: of B3, that go with it; `sampled`: what others hear. */
export function unrecorded(
  incoming: Incoming,
  forms: number,
  sampled: boolean,
): { readonly traceId: string; readonly fields: Fields } {
  const { parent, traceparent, state, debug } = incoming;
  if (parent === undefined && forms === 0 && !sampled) {
    const value = newUnsampledTraceparent();
    return {
      traceId: value.slice(3, 35),
      fields: [makeField("traceparent", value, "without")],
    };
  }
  const traceId = parent?.traceId ?? newTraceId();
  const context = {
    traceId,
    spanId: parent?.spanId ?? newSpanId(),
    sampled,
    random: parent?.random ?? true,
  };
  const fields = [
    traceparent ??
      makeField("traceparent", formatTraceparent(context), "without"),
  ];
  if (state !== undefined)
    fields.push(makeField("tracestate", state, "without"));
  if (forms !== 0)
    fields.push(
      ...b3Fields(forms, {
        ...context,
        debug: sampled && debug,
        parentSpanId: undefined,
      }),
    );
  return { traceId, fields };
}

/** The fields that an attempt takes along whose span is recorded. */
export function recorded(
  { state, debug }: Pick<Incoming, "state" | "debug">,
  context: TraceContext,
  parentSpanId: string,
  forms: number,
): Fields {
  const fields = [
    makeField("traceparent", formatTraceparent(context), "without"),
  ];
  if (state !== undefined)
    fields.push(makeField("tracestate", state, "without"));
  if (forms !== 0)
    fields.push(...b3Fields(forms, { ...context, debug, parentSpanId }));
  return fields;
}
