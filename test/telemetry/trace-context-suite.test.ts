/**
 * The cases of the W3C's own suite for implementations of Trace Context, named as there, against a sidecar whose application copies
 * both fields. The suite cannot be installed from a registry, so its cases are a table here. One differs in part, and says why.
 */
import t from "tap";
import { parseTraceparent } from "../../src/telemetry/trace-context.ts";
import {
  valuesOf,
  withTracedHop,
  type RawFields,
  type TracedHop,
} from "../support/tracing/copying-application.ts";

const TRACE = "12345678901234567890123456789012";
const OTHER = "12345678901234567890123456789011";
const SPAN = "1234567890123456";
const parent = (value: string, name = "traceparent") => [name, value] as const;
const state = (value: string, name = "tracestate") => [name, value] as const;
const SAMPLED = parent(`00-${TRACE}-${SPAN}-01`);
const UNSAMPLED = parent(`00-${TRACE}-${SPAN}-00`);

interface Case {
  readonly name: string;
  /** Each is a request of its own. */
  readonly sent: readonly RawFields[];
  /** Whether the trace goes on. */
  readonly kept: boolean;
  /** `tracestate` of what goes on; "" for none. Not looked at where it is left out. */
  readonly list?: string;
}

const kept = (name: string, ...sent: RawFields[]): Case => ({
  name,
  sent,
  kept: true,
});
const dropped = (name: string, ...values: string[]): Case => ({
  name,
  sent: values.map((value) => [parent(value)]),
  kept: false,
});
/** One request, whose list goes on so. */
const list = (name: string, values: readonly string[], list: string): Case => ({
  name,
  sent: [[UNSAMPLED, ...values.map((value) => state(value))]],
  kept: true,
  list,
});

const ALL_VALUE = Array.from({ length: 0x7f - 0x20 }, (_, at) =>
  String.fromCharCode(at + 0x20),
)
  .filter((each) => each !== "," && each !== "=")
  .join("");
const ALL_KEY = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
const numbered = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, at) => {
    const number = String(from + at).padStart(2, "0");
    return `bar${number}=${number}`;
  }).join(",");
const TENS = [numbered(1, 10), numbered(11, 20), numbered(21, 30)];

const CASES: readonly Case[] = [
  kept("test_traceparent_included_tracestate_missing", [SAMPLED]),
  {
    name: "test_traceparent_duplicated",
    sent: [[parent(`00-${OTHER}-${SPAN}-01`), SAMPLED]],
    kept: false,
  },
  {
    name: "test_traceparent_header_name",
    sent: ["trace-parent", "trace.parent"].map((name) => [
      parent(SAMPLED[1], name),
    ]),
    kept: false,
  },
  kept(
    "test_traceparent_header_name_valid_casing",
    ...["TraceParent", "TrAcEpArEnT", "TRACEPARENT"].map((name) => [
      parent(SAMPLED[1], name),
    ]),
  ),
  dropped(
    "test_traceparent_version_0x00",
    `${SAMPLED[1]}.`,
    `${SAMPLED[1]}-what-the-future-brings`,
  ),
  kept(
    "test_traceparent_version_0xcc",
    [parent(`cc-${TRACE}-${SPAN}-01`)],
    [parent(`cc-${TRACE}-${SPAN}-01-what-the-future-brings`)],
  ),
  dropped(
    "test_traceparent_version_0xcc, the rest without a dash",
    `cc-${TRACE}-${SPAN}-01.what-the-future-brings`,
  ),
  dropped("test_traceparent_version_0xff", `ff-${TRACE}-${SPAN}-01`),
  dropped(
    "test_traceparent_version_illegal_characters",
    `.0-${TRACE}-${SPAN}-01`,
    `0.-${TRACE}-${SPAN}-01`,
  ),
  dropped(
    "test_traceparent_version_too_long",
    `000-${TRACE}-${SPAN}-01`,
    `0000-${TRACE}-${SPAN}-01`,
  ),
  dropped("test_traceparent_version_too_short", `0-${TRACE}-${SPAN}-01`),
  dropped(
    "test_traceparent_trace_id_all_zero",
    `00-${"0".repeat(32)}-${SPAN}-01`,
  ),
  dropped(
    "test_traceparent_trace_id_illegal_characters",
    `00-.${TRACE.slice(1)}-${SPAN}-01`,
    `00-${TRACE.slice(1)}.-${SPAN}-01`,
  ),
  dropped("test_traceparent_trace_id_too_long", `00-${TRACE}3-${SPAN}-01`),
  dropped(
    "test_traceparent_trace_id_too_short",
    `00-${TRACE.slice(1)}-${SPAN}-01`,
  ),
  dropped(
    "test_traceparent_parent_id_all_zero",
    `00-${TRACE}-${"0".repeat(16)}-01`,
  ),
  dropped(
    "test_traceparent_parent_id_illegal_characters",
    `00-${TRACE}-.${SPAN.slice(1)}-01`,
    `00-${TRACE}-${SPAN.slice(1)}.-01`,
  ),
  dropped("test_traceparent_parent_id_too_long", `00-${TRACE}-${SPAN}7-01`),
  dropped(
    "test_traceparent_parent_id_too_short",
    `00-${TRACE}-${SPAN.slice(1)}-01`,
  ),
  dropped(
    "test_traceparent_trace_flags_illegal_characters",
    `00-${TRACE}-${SPAN}-.0`,
    `00-${TRACE}-${SPAN}-0.`,
  ),
  dropped("test_traceparent_trace_flags_too_long", `00-${TRACE}-${SPAN}-001`),
  dropped("test_traceparent_trace_flags_too_short", `00-${TRACE}-${SPAN}-1`),
  kept(
    "test_traceparent_ows_handling",
    ...[" V", "\tV", "V ", "V\t", "\t V \t"].map((form) => [
      parent(form.replace("V", SAMPLED[1])),
    ]),
  ),
  {
    name: "test_tracestate_included_traceparent_missing",
    sent: [[state("foo=1")], [state("foo=1,bar=2")]],
    kept: false,
    list: "",
  },
  list(
    "test_tracestate_included_traceparent_included",
    ["foo=1,bar=2"],
    "foo=1,bar=2",
  ),
  {
    name: "test_tracestate_header_name",
    sent: ["trace-state", "trace.state"].map((name) => [
      UNSAMPLED,
      state("foo=1", name),
    ]),
    kept: true,
    list: "",
  },
  {
    name: "test_tracestate_header_name_valid_casing",
    sent: ["TraceState", "TrAcEsTaTe", "TRACESTATE"].map((name) => [
      UNSAMPLED,
      state("foo=1", name),
    ]),
    kept: true,
    list: "foo=1",
  },
  list("test_tracestate_empty_header", [""], ""),
  list("test_tracestate_empty_header, the last", ["foo=1", ""], "foo=1"),
  list("test_tracestate_empty_header, the first", ["", "foo=1"], "foo=1"),
  list(
    "test_tracestate_multiple_headers_different_keys",
    ["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
    "foo=1,bar=2,rojo=1,congo=2,baz=3",
  ),
  list("test_tracestate_duplicated_keys", ["foo=1,foo=2"], "foo=1,foo=2"),
  list(
    "test_tracestate_duplicated_keys, in two",
    ["foo=1", "foo=2"],
    "foo=1,foo=2",
  ),
  list(
    "test_tracestate_all_allowed_characters",
    [`${ALL_KEY}=${ALL_VALUE}`],
    `${ALL_KEY}=${ALL_VALUE}`,
  ),
  list(
    "test_tracestate_all_allowed_characters, with a vendor",
    [`${ALL_KEY}@a-z0-9_-*/=${ALL_VALUE}`],
    `${ALL_KEY}@a-z0-9_-*/=${ALL_VALUE}`,
  ),
  ...["foo=1 \t , \t bar=2, \t baz=3", "foo=1\t \t,\t \tbar=2,\t \tbaz=3"].map(
    (value) =>
      list("test_tracestate_ows_handling", [value], "foo=1,bar=2,baz=3"),
  ),
  ...[" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t"].map((value) =>
    list("test_tracestate_ows_handling, around all", [value], "foo=1"),
  ),
  ...["foo =1", "FOO=1", "foo.bar=1"].map((value) =>
    list("test_tracestate_key_illegal_characters", [value], ""),
  ),
  list("test_tracestate_key_illegal_vendor_format", ["@foo=1,bar=2"], ""),
  ...["foo@=1,bar=2", "foo@@bar=1,bar=2", "foo@bar@baz=1,bar=2"].map((value) =>
    list("test_tracestate_key_illegal_vendor_format", [value], value),
  ),
  list(
    "test_tracestate_member_count_limit",
    [...TENS, numbered(31, 32)],
    numbered(1, 32),
  ),
  list(
    "test_tracestate_member_count_limit, exceeded",
    [...TENS, numbered(31, 33)],
    "",
  ),
  ...[
    "z".repeat(256),
    `${"t".repeat(241)}@${"v".repeat(14)}`,
    `${"t".repeat(242)}@v`,
    `t@${"v".repeat(15)}`,
  ].map((key) =>
    list(
      "test_tracestate_key_length_limit",
      ["foo=1", `${key}=1`],
      `foo=1,${key}=1`,
    ),
  ),
  list(
    "test_tracestate_key_length_limit, exceeded",
    ["foo=1", `${"z".repeat(257)}=1`],
    "",
  ),
  ...["foo=bar=baz", "foo=,bar=3"].map((value) =>
    list("test_tracestate_value_illegal_characters", [value], ""),
  ),
];

/** What a call brought: exactly one valid traceparent, and the list without white space around commas. */
function contextOf(fields: RawFields): {
  readonly traceId: string;
  readonly spanId: string;
  readonly flags: string;
  readonly list: string;
} {
  const [value = "", ...more] = valuesOf(fields, "traceparent");
  const context = parseTraceparent(value);
  if (context === undefined || more.length > 0)
    throw new Error(`invalid traceparent: ${JSON.stringify(fields)}`);
  const members = valuesOf(fields, "tracestate").flatMap((each) =>
    each.split(",").map((member) => member.trim()),
  );
  return {
    ...context,
    flags: value.slice(-2),
    list: members.filter((member) => member !== "").join(","),
  };
}

/** At 100 percent, as the suite looks for new span ids in traces that begin here. */
const FIELDS = ["traceparent", "tracestate"];

void t.test("the W3C's cases", (t) =>
  withTracedHop(t, { copies: FIELDS }, async (hop) => {
    for (const { name, sent, ...expected } of CASES)
      for (const fields of sent) {
        const [call = []] = await hop.ask(fields);
        const { traceId, spanId, list } = contextOf(call);
        t.equal(traceId === TRACE, expected.kept, name);
        t.not(traceId, OTHER, name);
        if (fields[0] === SAMPLED) t.not(spanId, SPAN, name);
        if (expected.list !== undefined) t.equal(list, expected.list, name);
      }
  }),
);

const ids = async (hop: TracedHop, fields: RawFields) => {
  const calls = (await hop.ask(fields, 3)).map(contextOf);
  return {
    traces: [...new Set(calls.map(({ traceId }) => traceId))],
    spans: new Set(calls.map(({ spanId }) => spanId)).size,
  };
};

void t.test("the W3C's cases of several calls", (t) =>
  withTracedHop(t, { copies: FIELDS }, async (hop) => {
    t.same(
      await ids(hop, [SAMPLED]),
      { traces: [TRACE], spans: 3 },
      "test_multiple_requests_with_valid_traceparent",
    );
    const none = await ids(hop, []);
    t.equal(none.spans, 3, "test_multiple_requests_without_traceparent");
    t.equal(none.traces.length, 1, "the application copies: one trace");
    const zero = await ids(hop, [parent(`00-${"0".repeat(32)}-${SPAN}-01`)]);
    t.equal(zero.spans, 3, "test_multiple_requests_with_illegal_traceparent");
  }),
);

/**
 * The suite's one case of Level 2 sends an unsampled trace, and asks for a new parent id as well. A hop that records nothing has no id
 * of its own to give (section 3.4 lets it pass on the field unchanged), so it keeps the caller's: that one check differs.
 */
void t.test("test_propagates_random_flag, recorded or not", (t) =>
  withTracedHop(t, { copies: FIELDS }, async (hop) => {
    for (const [sent, on] of [
      ["02", "02"],
      ["03", "03"],
      ["01", "01"],
      ["00", "00"],
    ]) {
      const [call = []] = await hop.ask([
        parent(`00-${TRACE}-${SPAN}-${sent ?? ""}`),
      ]);
      const { traceId, spanId, flags } = contextOf(call);
      t.equal(traceId, TRACE);
      t.equal(flags, on);
      t.equal(spanId === SPAN, sent === "00" || sent === "02");
    }
    const [own = []] = await hop.ask([]);
    t.equal(contextOf(own).flags, "03", "a trace of our own is random");
  }),
);
