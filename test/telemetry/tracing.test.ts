import t from "tap";
import {
  formatTraceparent,
  newSpanId,
  newTraceId,
  parseTraceparent,
} from "../../src/telemetry/trace-context.ts";
import { UNSAID } from "../../src/telemetry/request-rules.ts";
import {
  makeTracing,
  type SpanRecord,
  type SpanSubject,
} from "../../src/telemetry/tracing.ts";
import { fieldValue, makeField } from "../../src/wire/fields.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

/** A request of which nothing is asked but its name. */
const PLAIN: SpanSubject = {
  rules: UNSAID,
  spanName: "GET",
  serverAttributes: () => ({}),
  clientAttributes: () => ({}),
};

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

function setUp(percentage = 100): {
  clock: ReturnType<typeof fakeClock>;
  spans: SpanRecord[];
  tracing: ReturnType<typeof makeTracing>;
} {
  const clock = fakeClock();
  const spans: SpanRecord[] = [];
  return {
    clock,
    spans,
    tracing: makeTracing({
      clock,
      samplingPercentage: () => percentage,
      forms: () => 0,
      sink: (span) => void spans.push(span),
    }),
  };
}

void t.test(
  "traceparent is read by the grammar of Trace Context 3.2.2",
  (t) => {
    for (const [end, sampled, random] of [
      ["01", true, false],
      ["00", false, false],
      ["02", false, true],
      ["03", true, true],
      ["ff", true, true],
      ["fc", false, false],
    ] as const)
      t.same(
        parseTraceparent(`00-${TRACE}-${SPAN}-${end}`),
        { traceId: TRACE, spanId: SPAN, sampled, random },
        end,
      );
    t.same(parseTraceparent(`cc-${TRACE}-${SPAN}-01-what-comes`), {
      traceId: TRACE,
      spanId: SPAN,
      sampled: true,
      random: false,
    });
    const invalid = [
      "",
      `ff-${TRACE}-${SPAN}-01`,
      `00-${TRACE}-${SPAN}-01-more`,
      `cc-${TRACE}-${SPAN}-01.more`,
      `00-${TRACE.toUpperCase()}-${SPAN}-01`,
      `00-${"0".repeat(32)}-${SPAN}-01`,
      `00-${TRACE}-${"0".repeat(16)}-01`,
      `00-${TRACE}-${SPAN}`,
      `00-${TRACE}-${SPAN}-1`,
      `0-${TRACE}-${SPAN}-01`,
    ];
    for (const value of invalid)
      t.equal(parseTraceparent(value), undefined, value);
    t.end();
  },
);

void t.test("new ids have their form and do not repeat", (t) => {
  const ids = new Set<string>();
  for (let index = 0; index < 2000; index += 1) {
    ids.add(newTraceId());
    ids.add(newSpanId());
  }
  t.equal(ids.size, 4000);
  t.ok(
    parseTraceparent(
      formatTraceparent({
        traceId: newTraceId(),
        spanId: newSpanId(),
        sampled: true,
        random: true,
      }),
    ),
  );
  t.end();
});

void t.test(
  "a sampled request gives a server span and a child for each attempt",
  (t) => {
    const { clock, spans, tracing } = setUp();
    const server = tracing.server(
      [
        makeField("traceparent", `00-${TRACE}-${SPAN}-01`),
        makeField("tracestate", "a=1"),
        makeField("tracestate", "b=2"),
      ],
      {
        rules: UNSAID,
        spanName: "GET",
        serverAttributes: () => ({ "url.path": "/x" }),
        clientAttributes: () => ({ "server.address": "10.0.0.7" }),
      },
    );
    t.equal(server.traceId, TRACE);
    clock.advance(5);
    const client = server.client();
    client.attribute("wherry.attempt", 1);
    clock.advance(10);
    client.end({ status: 503 });
    client.end({ status: 200 });
    server.attribute("wherry.route", "shop/orders");
    server.end({ status: 503, reason: "UPSTREAM_RESET" });
    const [first, second] = spans;
    t.match(first, {
      kind: "client",
      traceId: TRACE,
      traceState: "a=1,b=2",
      error: "503",
      attributes: {
        "server.address": "10.0.0.7",
        "wherry.attempt": 1,
        "error.type": "503",
        "http.response.status_code": 503,
      },
    });
    t.match(second, {
      kind: "server",
      parentSpanId: SPAN,
      error: "UPSTREAM_RESET",
      attributes: {
        "url.path": "/x",
        "wherry.reason": "UPSTREAM_RESET",
        "wherry.route": "shop/orders",
      },
    });
    t.equal(first?.parentSpanId, second?.spanId);
    t.equal(spans.length, 2);
    t.equal((first?.end ?? 0) - (first?.start ?? 0), 10);
    t.equal((second?.end ?? 0) - (second?.start ?? 0), 15);
    t.equal(
      fieldValue(client.fields, "traceparent"),
      `00-${TRACE}-${first?.spanId ?? ""}-01`,
    );
    t.equal(fieldValue(client.fields, "tracestate"), "a=1,b=2");
    t.end();
  },
);

void t.test(
  "what is not sampled makes no span, but one traceparent that stops others from sampling",
  (t) => {
    const { spans, tracing } = setUp(0);
    const asked = (): never => t.fail("attributes asked for") as never;
    const server = tracing.server([], {
      rules: UNSAID,
      spanName: "GET",
      serverAttributes: asked,
      clientAttributes: asked,
    });
    const first = server.client();
    const second = server.client();
    first.end({ status: 500 });
    server.end({ status: 500 });
    t.same(spans, []);
    t.match(parseTraceparent(fieldValue(first.fields, "traceparent") ?? ""), {
      traceId: server.traceId,
      sampled: false,
      random: true,
    });
    t.equal(first, second);
    t.end();
  },
);

void t.test("the parent's decision is respected in both directions", (t) => {
  for (const [percentage, flags, sampled] of [
    [0, "01", true],
    [100, "00", false],
  ] as const) {
    const { tracing } = setUp(percentage);
    const server = tracing.server(
      [makeField("traceparent", `00-${TRACE}-${SPAN}-${flags}`)],
      PLAIN,
    );
    t.equal(server.reports, sampled);
    if (!sampled)
      t.equal(
        fieldValue(server.client().fields, "traceparent"),
        `00-${TRACE}-${SPAN}-${flags}`,
      );
  }
  t.end();
});

void t.test(
  "flags, version and list go on in the form of this version, recorded or not",
  (t) => {
    for (const [sent, on] of [
      [`00-${TRACE}-${SPAN}-02`, `00-${TRACE}-${SPAN}-02`],
      [`00-${TRACE}-${SPAN}-06`, `00-${TRACE}-${SPAN}-02`],
      [`00-${TRACE}-${SPAN}-fe`, `00-${TRACE}-${SPAN}-02`],
      [`cc-${TRACE}-${SPAN}-08-more`, `00-${TRACE}-${SPAN}-00`],
    ] as const) {
      const { fields } = setUp()
        .tracing.server(
          [makeField("traceparent", sent), makeField("tracestate", "A=1")],
          PLAIN,
        )
        .client();
      t.equal(fieldValue(fields, "traceparent"), on, sent);
      t.equal(fieldValue(fields, "tracestate"), undefined);
    }
    for (const [flags, on, random] of [
      ["01", "01", false],
      ["03", "03", true],
      ["ff", "03", true],
    ] as const) {
      const { spans, tracing } = setUp();
      const server = tracing.server(
        [makeField("traceparent", `00-${TRACE}-${SPAN}-${flags}`)],
        PLAIN,
      );
      const client = server.client();
      client.end({ status: 200 });
      t.match(
        fieldValue(client.fields, "traceparent"),
        new RegExp(`^00-${TRACE}-[0-9a-f]{16}-${on}$`),
      );
      t.equal(spans[0]?.random, random);
    }
    const own = setUp().tracing.server([], PLAIN).client();
    t.match(fieldValue(own.fields, "traceparent"), /-03$/);
    t.end();
  },
);

void t.test(
  "an invalid or repeated traceparent begins a new trace, and its tracestate is dropped",
  (t) => {
    const { tracing } = setUp();
    const valid = makeField("traceparent", `00-${TRACE}-${SPAN}-01`);
    for (const fields of [
      [valid, valid],
      [makeField("traceparent", "junk"), makeField("tracestate", "a=1")],
      [makeField("tracestate", "a=1")],
    ]) {
      const server = tracing.server(fields, PLAIN);
      t.not(server.traceId, TRACE);
      t.equal(fieldValue(server.client().fields, "tracestate"), undefined);
    }
    t.end();
  },
);

void t.test(
  "a client span fails from 400 on, a server span from 500 on, both without a status",
  (t) => {
    const { spans, tracing } = setUp();
    const cases: [
      number | undefined,
      string | undefined,
      string | undefined,
    ][] = [
      [200, undefined, undefined],
      [404, "404", undefined],
      [500, "500", "500"],
      [undefined, "_OTHER", "_OTHER"],
    ];
    for (const [status, clientError, serverError] of cases) {
      const server = tracing.server([], PLAIN);
      server.client().end({ status });
      server.end({ status });
      const [client, ended] = spans.splice(0);
      t.equal(client?.error, clientError);
      t.equal(ended?.error, serverError);
    }
    t.end();
  },
);

/** What goes on where spans are not sent: what came, or a context of this sidecar's own with the decision that it took. */
for (const [title, sent, percentage, expected] of [
  [
    "a sampled parent",
    [`00-${TRACE}-${SPAN}-01`],
    0,
    [`00-${TRACE}-${SPAN}-01`],
  ],
  [
    "an unsampled parent",
    [`00-${TRACE}-${SPAN}-00`],
    100,
    [`00-${TRACE}-${SPAN}-00`],
  ],
  [
    "a new trace that is sampled",
    [],
    100,
    [/^00-[0-9a-f]{32}-[0-9a-f]{16}-03$/],
  ],
  ["a new trace that is not", [], 0, [/^00-[0-9a-f]{32}-[0-9a-f]{16}-02$/]],
] as const)
  void t.test(
    `no spans are reported, and the context goes on: ${title}`,
    (t) => {
      const { spans, tracing } = setUp(percentage);
      const server = tracing.server(
        sent.map((value) => makeField("traceparent", value)),
        { ...PLAIN, rules: { ...UNSAID, reportsSpans: false } },
      );
      const { fields } = server.client();
      server.client().end({ status: 200 });
      server.end({ status: 200 });
      t.same(spans, []);
      t.equal(server.reports, false);
      t.match([fieldValue(fields, "traceparent")], expected);
      t.end();
    },
  );

void t.test("B3's decisions go on where spans are not sent", (t) => {
  const { tracing } = setUp(0);
  for (const value of [
    `${TRACE}-${SPAN}-1`,
    `${TRACE}-${SPAN}-0`,
    `${TRACE}-${SPAN}-d`,
  ]) {
    const { fields } = tracing
      .server([makeField("b3", value)], {
        ...PLAIN,
        rules: { ...UNSAID, reportsSpans: false },
      })
      .client();
    t.equal(fieldValue(fields, "b3"), value);
  }
  t.end();
});

void t.test(
  "tags are on all spans of a request, and take the place of none",
  (t) => {
    const { spans, tracing } = setUp();
    const server = tracing.server([makeField("x-tenant", "acme")], {
      ...PLAIN,
      rules: {
        ...UNSAID,
        tags: (fields) => ({
          tenant: fieldValue(fields, "x-tenant") ?? "",
          "url.path": "not this",
        }),
      },
      serverAttributes: () => ({ "url.path": "/x" }),
      clientAttributes: () => ({ "url.path": "/y" }),
    });
    server.client().end({ status: 200 });
    server.end({ status: 200 });
    t.match(
      spans.map(({ kind, attributes }) => [kind, attributes]),
      [
        ["client", { tenant: "acme", "url.path": "/y" }],
        ["server", { tenant: "acme", "url.path": "/x" }],
      ],
    );
    t.end();
  },
);
