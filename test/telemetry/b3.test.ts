// B3 as openzipkin/b3-propagation has it: both forms in and out, decisions, debug, and what is malformed.
import { ROOT_CONTEXT, trace, TraceFlags } from "@opentelemetry/api";
import { B3InjectEncoding, B3Propagator } from "@opentelemetry/propagator-b3";
import t from "tap";
import {
  B3_MULTI,
  B3_SINGLE,
  b3Fields,
  formsOf,
  parseB3,
  parseB3Fields,
  type B3Fields,
} from "../../src/telemetry/b3.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SHORT = "a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const PARENT = "05e3ac9a4f6e3b90";
const IDS = { traceId: TRACE, spanId: SPAN };
const PADDED = { traceId: SHORT.padStart(32, "0"), spanId: SPAN };

void t.test("the one field", (t) => {
  for (const [value, ids, sampled, debug] of [
    [`${TRACE}-${SPAN}-1`, IDS, true, false],
    [`${TRACE}-${SPAN}-0`, IDS, false, false],
    [`${TRACE}-${SPAN}-d`, IDS, true, true],
    [`${TRACE}-${SPAN}`, IDS, undefined, false],
    [`${TRACE}-${SPAN}-1-${PARENT}`, IDS, true, false],
    [`${SHORT}-${SPAN}-1`, PADDED, true, false],
    ["0", undefined, false, false],
    ["1", undefined, true, false],
    ["d", undefined, true, true],
  ] as const)
    t.same(parseB3(value), { ids, sampled, debug }, value);
  for (const value of [
    "",
    "2",
    "true",
    TRACE,
    `${TRACE}-`,
    `${TRACE}-${SPAN}-`,
    `${TRACE}-${SPAN}-2`,
    `${TRACE}-${SPAN}-D`,
    `${TRACE}-${SPAN}-1-`,
    `${TRACE}-${SPAN}-1-${PARENT}-`,
    `${TRACE}-${SPAN}-${PARENT}`,
    `${TRACE.toUpperCase()}-${SPAN}-1`,
    `${TRACE.slice(1)}-${SPAN}-1`,
    `${TRACE}0-${SPAN}-1`,
    `${TRACE}-${SPAN.slice(1)}-1`,
    `${TRACE}-${SPAN}0-1`,
    `${TRACE}-${SPAN}-1-${PARENT.slice(1)}`,
    `${"0".repeat(32)}-${SPAN}-1`,
    `${"0".repeat(16)}-${SPAN}-1`,
    `${TRACE}-${"0".repeat(16)}-1`,
    `${TRACE}-${SPAN}-1,${TRACE}-${SPAN}-1`,
  ])
    t.equal(parseB3(value), undefined, value);
  t.end();
});

const fields = (more: Partial<B3Fields>): B3Fields => ({
  traceId: undefined,
  spanId: undefined,
  sampled: undefined,
  flags: undefined,
  ...more,
});

void t.test("the several fields", (t) => {
  for (const [more, ids, sampled, debug] of [
    [{ ...IDS, sampled: "1" }, IDS, true, false],
    [{ ...IDS, sampled: "0" }, IDS, false, false],
    [{ ...IDS, sampled: "true" }, IDS, true, false],
    [{ ...IDS, sampled: "false" }, IDS, false, false],
    [IDS, IDS, undefined, false],
    [{ ...IDS, flags: "1" }, IDS, true, true],
    [{ ...IDS, flags: "1", sampled: "0" }, IDS, true, true],
    [{ ...IDS, flags: "0", sampled: "1" }, IDS, true, false],
    [{ traceId: SHORT, spanId: SPAN }, PADDED, undefined, false],
    [{ sampled: "0" }, undefined, false, false],
    [{ flags: "1" }, undefined, true, true],
  ] as const)
    t.same(
      parseB3Fields(fields(more)),
      { ids, sampled, debug },
      JSON.stringify(more),
    );
  for (const more of [
    {},
    { traceId: TRACE },
    { spanId: SPAN },
    { traceId: TRACE, sampled: "1" },
    { ...IDS, traceId: TRACE.slice(1) },
    { ...IDS, traceId: TRACE.toUpperCase() },
    { ...IDS, traceId: "0".repeat(16) },
    { ...IDS, spanId: SPAN.slice(1) },
    { ...IDS, spanId: "0".repeat(16) },
    { ...IDS, spanId: "" },
    { ...IDS, sampled: "yes" },
    { ...IDS, sampled: "" },
    { ...IDS, flags: "2" },
    { ...IDS, flags: "d" },
  ])
    t.equal(parseB3Fields(fields(more)), undefined, JSON.stringify(more));
  t.end();
});

const written = (
  forms: number,
  more: Partial<Parameters<typeof b3Fields>[1]> = {},
): Record<string, string> =>
  Object.fromEntries(
    b3Fields(forms, {
      ...IDS,
      sampled: true,
      debug: false,
      parentSpanId: undefined,
      ...more,
    }).map(({ name, value }) => [name, value]),
  );

void t.test("both are written", (t) => {
  for (const [more, single, multi] of [
    [{}, `${TRACE}-${SPAN}-1`, { "x-b3-sampled": "1" }],
    [{ sampled: false }, `${TRACE}-${SPAN}-0`, { "x-b3-sampled": "0" }],
    [{ debug: true }, `${TRACE}-${SPAN}-d`, { "x-b3-flags": "1" }],
    [
      { parentSpanId: PARENT },
      `${TRACE}-${SPAN}-1-${PARENT}`,
      { "x-b3-sampled": "1", "x-b3-parentspanid": PARENT },
    ],
  ] as const) {
    const ids = { "x-b3-traceid": TRACE, "x-b3-spanid": SPAN };
    t.same(written(B3_SINGLE, more), { b3: single });
    t.same(written(B3_MULTI, more), { ...ids, ...multi });
    t.same(written(B3_SINGLE | B3_MULTI, more), {
      b3: single,
      ...ids,
      ...multi,
    });
  }
  const short = { traceId: PADDED.traceId };
  t.same(written(B3_SINGLE, short), { b3: `${SHORT}-${SPAN}-1` });
  t.same(written(0), {});
  t.equal(formsOf([]), 0);
  t.equal(formsOf(["b3multi", "b3"]), B3_SINGLE | B3_MULTI);
  t.end();
});

/** OpenTelemetry's own propagator reads what we write, and we read what it writes. */
void t.test("as OpenTelemetry's propagator does", (t) => {
  for (const sampled of [true, false]) {
    for (const [forms, encoding] of [
      [B3_SINGLE, B3InjectEncoding.SINGLE_HEADER],
      [B3_MULTI, B3InjectEncoding.MULTI_HEADER],
    ] as const) {
      const propagator = new B3Propagator({ injectEncoding: encoding });
      const getter = {
        get: (carrier: Record<string, string>, key: string) => carrier[key],
        keys: (carrier: Record<string, string>) => Object.keys(carrier),
      };
      const read = propagator.extract(
        ROOT_CONTEXT,
        written(forms, { sampled }),
        getter,
      );
      const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
      t.match(trace.getSpanContext(read), { ...IDS, traceFlags });
      const carrier: Record<string, string> = {};
      propagator.inject(
        trace.setSpanContext(ROOT_CONTEXT, { ...IDS, traceFlags }),
        carrier,
        {
          set: (to: Record<string, string>, key, value) =>
            void (to[key.toLowerCase()] = value),
        },
      );
      t.same(
        forms === B3_SINGLE
          ? parseB3(carrier["b3"] ?? "")
          : parseB3Fields({
              traceId: carrier["x-b3-traceid"],
              spanId: carrier["x-b3-spanid"],
              sampled: carrier["x-b3-sampled"],
              flags: carrier["x-b3-flags"],
            }),
        { ids: IDS, sampled, debug: false },
      );
    }
  }
  t.end();
});
