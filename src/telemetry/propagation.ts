/** The trace context of a request: what its header fields say, and what of them goes on. */
import {
  FieldClass,
  makeField,
  type Field,
  type Fields,
} from "../wire/fields.ts";
import {
  formatTraceparent,
  parseTraceparent,
  type TraceContext,
} from "./trace-context.ts";
import { readTraceState } from "./trace-state.ts";

export interface Incoming {
  readonly parent: TraceContext | undefined;
  readonly state: string | undefined;
  /** The trace fields to pass on where nothing is recorded. */
  readonly forwarded: Fields;
}

const NOTHING: Incoming = {
  parent: undefined,
  state: undefined,
  forwarded: [],
};

export function readContext(fields: Fields): Incoming {
  let traceparent: Field | undefined;
  let list: string | undefined;
  let repeated = false;
  for (const field of fields) {
    if ((field.bits & FieldClass.TRACE) === 0) continue;
    if (field.name === "tracestate") {
      list = list === undefined ? field.value : `${list},${field.value}`;
    } else if (field.name === "traceparent") {
      repeated = traceparent !== undefined;
      traceparent = field;
    }
  }
  // A repeated traceparent is as good as none, and tracestate means nothing without it (section 3.3.1.3).
  if (traceparent === undefined || repeated) return NOTHING;
  const parent = parseTraceparent(traceparent.value);
  if (parent === undefined) return NOTHING;
  const state = list === undefined ? undefined : readTraceState(list);
  const forwarded = [ownVersion(traceparent, parent)];
  if (state !== undefined)
    forwarded.push(makeField("tracestate", state, "without"));
  return { parent, state, forwarded };
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
