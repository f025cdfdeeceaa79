/** Telemetry between two real sidecars: spans, tags, lines and fields, changed without a restart. */
import t from "tap";
import type { AccessRecord } from "../../../src/telemetry/access-log.ts";
import type { SpanRecord } from "../../../src/telemetry/tracing.ts";
import { resource, withPair, type Pair } from "../../support/meshes/pair.ts";
import { eventually } from "../../support/peers/call.ts";

type Resource = ReturnType<typeof resource>;

interface Recorded {
  readonly pair: Pair;
  /** Puts these in force, makes the call, and tells what both sides recorded of it. */
  readonly call: (
    resources: readonly Resource[],
    headers?: Readonly<Record<string, string>>,
    path?: string,
  ) => Promise<{
    readonly traceparent: string;
    readonly spans: readonly SpanRecord[];
    readonly lines: readonly AccessRecord[];
  }>;
}

/** Sidecars that go by what is in force: no flag says how many traces are sampled. `mode`: of both access logs. */
async function withRecorded(
  mode: "none" | "errors",
  use: (recorded: Recorded) => Promise<void>,
): Promise<void> {
  const spans: SpanRecord[] = [];
  const lines: AccessRecord[] = [];
  const side = {
    accessLog: mode,
    tracing: { sink: (span: SpanRecord) => void spans.push(span) },
    writeAccessLog: (line: string) =>
      void lines.push(JSON.parse(line) as AccessRecord),
  };
  await withPair({ caller: side, callee: side }, async (pair) => {
    await use({
      pair,
      async call(resources, headers = {}, path = "/") {
        spans.length = lines.length = 0;
        pair.apply(resources);
        const { text } = await pair.call({ path, headers });
        await eventually(
          "both sides have ended it",
          5000,
          async () => [
            await pair.metric(
              pair.caller,
              "wherry_active_requests",
              "outbound",
            ),
            await pair.metric(pair.callee, "wherry_active_requests", "inbound"),
          ],
          (active) => active.every((count) => count === 0),
        );
        const got = JSON.parse(text) as {
          headers: Readonly<Record<string, string>>;
        };
        return {
          traceparent: got.headers["traceparent"] ?? "",
          spans: [...spans],
          lines: [...lines],
        };
      },
    });
  });
}

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = `00-${TRACE}-00f067aa0ba902b7`;

function telemetry(spec: object): Resource {
  return resource("Telemetry", "recorded", spec);
}

const all = (more: object = {}): Resource =>
  telemetry({ tracing: [{ randomSamplingPercentage: 100, ...more }] });

const directionsOf = (spans: readonly SpanRecord[]): readonly string[] =>
  spans
    .map(
      ({ kind, attributes }) =>
        `${kind} ${String(attributes["wherry.direction"])}`,
    )
    .sort();

const FOUR = [
  ...["client inbound", "client outbound"],
  ...["server inbound", "server outbound"],
];

void t.test(
  "sampling follows the config, and a parent's decision comes first",
  async (t) => {
    await withRecorded("none", async ({ call }) => {
      for (const [title, resources, sent, spans, flags] of [
        ["all", [all()], undefined, FOUR, "03"],
        ["none", [all({ randomSamplingPercentage: 0 })], undefined, [], "02"],
        ["all again", [all()], undefined, FOUR, "03"],
        [
          "the caller has decided against it",
          [all()],
          `${PARENT}-00`,
          [],
          "00",
        ],
        [
          "the caller has decided for it",
          [all({ randomSamplingPercentage: 0 })],
          `${PARENT}-01`,
          FOUR,
          "01",
        ],
        [
          "the callers' side alone, whose decision the other respects",
          [all({ match: { mode: "CLIENT" } })],
          undefined,
          FOUR,
          "03",
        ],
        [
          "another workload's",
          [
            telemetry({
              selector: { matchLabels: { app: "other" } },
              tracing: [{ randomSamplingPercentage: 100 }],
            }),
            resource("Mesh", "default", {
              authorization: { defaultAction: "ALLOW" },
              defaults: { tracing: { randomSamplingPercentage: 0 } },
            }),
          ],
          undefined,
          [],
          "02",
        ],
        [
          "no side reports, and the decision goes on",
          [all({ disableSpanReporting: true })],
          undefined,
          [],
          "03",
        ],
        [
          "the called side does not report",
          [
            telemetry({
              tracing: [
                { match: { mode: "CLIENT" }, randomSamplingPercentage: 100 },
                { match: { mode: "SERVER" }, disableSpanReporting: true },
              ],
            }),
          ],
          undefined,
          ["client outbound", "server outbound"],
          "03",
        ],
      ] as const) {
        const found = await call(
          resources,
          sent === undefined ? {} : { traceparent: sent },
        );
        t.strictSame(directionsOf(found.spans), spans, title);
        t.equal(found.traceparent.slice(-2), flags, title);
        if (sent !== undefined)
          t.equal(found.traceparent.slice(3, 35), TRACE, title);
      }
    });
  },
);

void t.test("spans have the tags of their own side", async (t) => {
  await withRecorded("none", async ({ call }) => {
    const tags = {
      region: { literal: { value: "eu" } },
      tenant: { header: { name: "X-Tenant", defaultValue: "nobody" } },
      "url.path": { literal: { value: "not this" } },
    };
    const server = all({ match: { mode: "SERVER" }, customTags: tags });
    const { spans } = await call([
      resource("Mesh", "default", {
        authorization: { defaultAction: "ALLOW" },
        defaults: { tracing: { randomSamplingPercentage: 100 } },
      }),
      server,
    ]);
    t.equal(spans.length, 4);
    for (const { attributes, kind } of spans) {
      const inbound = attributes["wherry.direction"] === "inbound";
      t.equal(attributes["region"], inbound ? "eu" : undefined);
      t.equal(attributes["tenant"], inbound ? "nobody" : undefined);
      if (kind === "server") t.equal(attributes["url.path"], "/");
    }
    const again = await call([all({ customTags: tags })], {
      "x-tenant": "acme",
    });
    t.strictSame(
      again.spans.map(({ attributes }) => attributes["tenant"]),
      ["acme", "acme", "acme", "acme"],
    );
  });
});

void t.test("the access log has what it is asked for", async (t) => {
  await withRecorded("errors", async ({ call }) => {
    const logging = (entry: object): readonly Resource[] => [
      telemetry({ accessLogging: [entry] }),
    ];
    for (const [title, resources, path, directions] of [
      ["errors alone", [], "/", []],
      [
        "every request",
        logging({ disabled: false }),
        "/",
        ["inbound", "outbound"],
      ],
      ["errors alone again", [], "/", []],
      [
        "one side",
        logging({ match: { mode: "SERVER" }, disabled: false }),
        "/",
        ["inbound"],
      ],
      [
        "what the filter takes",
        logging({
          filter: { expression: 'request.url_path.startsWith("/a")' },
        }),
        "/a/b",
        ["inbound", "outbound"],
      ],
      [
        "not what it does not take",
        logging({
          filter: { expression: 'request.url_path.startsWith("/a")' },
        }),
        "/b",
        [],
      ],
      [
        "by the caller's certificate, which the called side alone sees",
        logging({ filter: { expression: "connection.mtls" } }),
        "/",
        ["inbound"],
      ],
    ] as const) {
      const { lines } = await call(resources, {}, path);
      t.strictSame(
        lines.map(({ direction }) => direction).sort(),
        directions,
        title,
      );
    }
    const { lines } = await call(
      logging({
        filter: { expression: 'request.headers["x-tenant"] == "acme"' },
        fields: {
          tenant: { header: { name: "x-tenant" } },
          region: { literal: { value: "eu" } },
          gone: { header: { name: "x-gone" } },
        },
      }),
      { "x-tenant": "acme" },
    );
    t.strictSame(
      lines.map(({ fields }) => fields),
      [
        { tenant: "acme", region: "eu" },
        { tenant: "acme", region: "eu" },
      ],
    );
  });
});

void t.test(
  "a refusal has no line where the log is disabled; a sidecar without a log has none at all",
  async (t) => {
    const deny = resource("AuthorizationPolicy", "no", {
      selector: { matchLabels: { app: "orders" } },
      action: "DENY",
      rules: [{}],
    });
    const lines: string[] = [];
    const side = {
      accessLog: "errors",
      writeAccessLog: (line: string) => void lines.push(line),
    } as const;
    await withPair({ caller: side, callee: side }, async (pair) => {
      for (const more of [
        [],
        [telemetry({ accessLogging: [{ disabled: true }] })],
      ]) {
        pair.apply([deny, ...more]);
        const { status } = await pair.call();
        t.equal(status, 403);
        t.equal(lines.length, 2);
      }
    });
    await withRecorded("none", async ({ call }) => {
      const { lines: none } = await call([
        telemetry({ accessLogging: [{ disabled: false }] }),
      ]);
      t.strictSame(none, []);
    });
  },
);
