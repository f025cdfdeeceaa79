// A sidecar whose application copies B3 alone: which trace a call belongs to, and what it brings to what it calls.
import t from "tap";
import { parseTraceparent } from "../../src/telemetry/trace-context.ts";
import {
  valuesOf,
  withTracedHop,
  type HopOptions,
  type RawFields,
} from "../support/tracing/copying-application.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER = "0af7651916cd43dd8448eb211c80319c";
const SHORT = "a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const B3 = [
  "b3",
  "x-b3-traceid",
  "x-b3-spanid",
  "x-b3-parentspanid",
  "x-b3-sampled",
  "x-b3-flags",
];
const ALL = [...B3, "traceparent", "tracestate"];

/** The B3 fields of a call, and the ids of its traceparent. */
function told(fields: RawFields): Record<string, string | undefined> {
  const [traceparent = ""] = valuesOf(fields, "traceparent");
  const context = parseTraceparent(traceparent);
  return {
    trace: context?.traceId,
    span: context?.spanId,
    sampled: String(context?.sampled),
    ...Object.fromEntries(
      B3.flatMap((name) => {
        const values = valuesOf(fields, name);
        return values.length === 0 ? [] : [[name, values.join(" ")]];
      }),
    ),
  };
}

const SINGLE: RawFields = [["b3", `${TRACE}-${SPAN}-1`]];
const MULTI: RawFields = [
  ["X-B3-TraceId", TRACE],
  ["X-B3-SpanId", SPAN],
  ["X-B3-Sampled", "1"],
];

void t.test("an application that only copies B3 keeps its trace", (t) =>
  withTracedHop(t, { copies: B3 }, async ({ ask, spans }) => {
    for (const [sent, form] of [
      [SINGLE, "b3"],
      [MULTI, "x-b3-traceid"],
    ] as const) {
      const before = spans.length;
      const [call = []] = await ask(sent);
      const { trace, span, sampled, ...b3 } = told(call);
      t.equal(trace, TRACE);
      t.equal(sampled, "true");
      const child = (id: string | undefined) =>
        spans.slice(before).find(({ parentSpanId }) => parentSpanId === id);
      const chain = [child(SPAN)];
      while (chain.length < 4) chain.push(child(chain.at(-1)?.spanId));
      t.same(
        chain.map((each) => each?.kind),
        ["server", "client", "server", "client"],
        "each under the one before, the caller's first, through the application",
      );
      t.equal(chain.at(-1)?.spanId, span);
      t.same(
        b3,
        form === "b3"
          ? { b3: `${TRACE}-${span ?? ""}-1-${chain[2]?.spanId ?? ""}` }
          : {
              "x-b3-traceid": TRACE,
              "x-b3-spanid": span,
              "x-b3-parentspanid": chain[2]?.spanId,
              "x-b3-sampled": "1",
            },
        "in the form in which it came",
      );
    }
  }),
);

interface Row {
  readonly name: string;
  readonly sent: RawFields;
  readonly options?: Partial<HopOptions>;
  /** A part of what the call tells. */
  readonly tells: Readonly<Record<string, string | RegExp | undefined>>;
}

const ANY = /^[0-9a-f]{32}$/;
const NONE: Partial<HopOptions> = { samplingPercentage: 0 };

const ROWS: readonly Row[] = [
  {
    name: "debug is recorded at any percentage, and stays debug",
    sent: [["b3", `${TRACE}-${SPAN}-d`]],
    options: NONE,
    tells: { trace: TRACE, sampled: "true", b3: /^4bf9[^-]*-[^-]*-d-[^-]*$/ },
  },
  {
    name: "debug by X-B3-Flags, over a decision against it",
    sent: [...MULTI.slice(0, 2), ["X-B3-Flags", "1"], ["X-B3-Sampled", "0"]],
    options: NONE,
    tells: { sampled: "true", "x-b3-flags": "1", "x-b3-sampled": undefined },
  },
  {
    name: "b3: 0 begins a trace that nobody records",
    sent: [["b3", "0"]],
    tells: {
      trace: ANY,
      sampled: "false",
      b3: /^[0-9a-f]{32}-[0-9a-f]{16}-0$/,
    },
  },
  {
    name: "b3: 1 begins a trace that is recorded",
    sent: [["b3", "1"]],
    options: NONE,
    tells: { trace: ANY, sampled: "true", b3: /-1-[0-9a-f]{16}$/ },
  },
  {
    name: "a decision against it is kept, ids and all",
    sent: [["b3", `${TRACE}-${SPAN}-0`]],
    tells: {
      trace: TRACE,
      span: SPAN,
      sampled: "false",
      b3: `${TRACE}-${SPAN}-0`,
    },
  },
  {
    name: "a decision that is left to us: recorded at 100 percent",
    sent: [["b3", `${TRACE}-${SPAN}`]],
    tells: { trace: TRACE, sampled: "true" },
  },
  {
    name: "a decision that is left to us: not at 0",
    sent: [["b3", `${TRACE}-${SPAN}`]],
    options: NONE,
    tells: { trace: TRACE, sampled: "false", b3: `${TRACE}-${SPAN}-0` },
  },
  {
    name: "64 bits come back as 64 bits",
    sent: [["b3", `${SHORT}-${SPAN}-0`]],
    tells: { trace: SHORT.padStart(32, "0"), b3: `${SHORT}-${SPAN}-0` },
  },
  {
    name: "traceparent is preferred, and B3 then says the same",
    sent: [["traceparent", `00-${OTHER}-${SPAN}-00`], ...SINGLE],
    tells: { trace: OTHER, sampled: "false", b3: `${OTHER}-${SPAN}-0` },
  },
  {
    name: "debug of another trace is not ours",
    sent: [
      ["traceparent", `00-${OTHER}-${SPAN}-01`],
      ["b3", `${TRACE}-${SPAN}-d`],
    ],
    tells: { trace: OTHER, b3: /-1-[0-9a-f]{16}$/ },
  },
  {
    name: "debug beside traceparent of the same trace",
    sent: [
      ["traceparent", `00-${TRACE}-${SPAN}-01`],
      ["b3", `${TRACE}-${SPAN}-d`],
    ],
    tells: { trace: TRACE, b3: /-d-[0-9a-f]{16}$/ },
  },
  {
    name: "B3 is read where traceparent is malformed",
    sent: [["traceparent", "junk"], ["tracestate", "a=1"], ...SINGLE],
    tells: { trace: TRACE },
  },
  {
    name: "the one field is preferred to the several",
    sent: [["b3", `${OTHER}-${SPAN}-0`], ...MULTI],
    tells: { trace: OTHER, "x-b3-traceid": OTHER, "x-b3-sampled": "0" },
  },
  {
    name: "the several are read where the one is malformed",
    sent: [["b3", "junk"], ...MULTI],
    tells: { trace: TRACE, b3: /^4bf9/, "x-b3-traceid": TRACE },
  },
  {
    name: "what is malformed begins a new trace, and is replaced",
    sent: [["b3", `${TRACE}-${SPAN}-7`]],
    tells: { trace: /^(?!4bf92f)/, b3: /^(?!4bf92f)[0-9a-f]{32}-/ },
  },
  {
    name: "twice is malformed",
    sent: [...SINGLE, ...SINGLE],
    tells: { trace: /^(?!4bf92f)/ },
  },
  {
    name: "an id that comes twice is malformed",
    sent: [...MULTI, ["X-B3-TraceId", OTHER]],
    tells: { trace: /^(?!4bf92f|0af765)/ },
  },
  {
    name: "without a setting no B3 is added",
    sent: [["traceparent", `00-${TRACE}-${SPAN}-01`]],
    tells: { trace: TRACE, b3: undefined, "x-b3-traceid": undefined },
  },
  ...[0, 100].map((samplingPercentage) => ({
    name: `by setting both forms are added at ${samplingPercentage} percent`,
    sent: [],
    options: {
      samplingPercentage,
      mesh: { defaults: { tracing: { propagators: ["b3multi", "b3"] } } },
    },
    tells: {
      b3: samplingPercentage === 0 ? /-0$/ : /-1-[0-9a-f]{16}$/,
      "x-b3-traceid": ANY,
      "x-b3-sampled": samplingPercentage === 0 ? "0" : "1",
    },
  })),
  {
    name: "by setting the one form is added",
    sent: [["traceparent", `00-${TRACE}-${SPAN}-00`]],
    options: { mesh: { defaults: { tracing: { propagators: ["b3"] } } } },
    tells: { b3: `${TRACE}-${SPAN}-0`, "x-b3-traceid": undefined },
  },
];

for (const { name, sent, options, tells } of ROWS)
  void t.test(name, (t) =>
    withTracedHop(t, { copies: ALL, ...options }, async ({ ask }) => {
      const [call = []] = await ask(sent);
      const said = told(call);
      for (const [key, value] of Object.entries(tells))
        if (value instanceof RegExp) t.match(said[key], value, key);
        else t.equal(said[key], value, key);
    }),
  );

void t.test("a nominated B3 field is not taken out by Connection", (t) =>
  withTracedHop(t, { copies: ALL }, async ({ ask }) => {
    await t.rejects(ask([...SINGLE, ["connection", "b3"]]));
  }),
);
