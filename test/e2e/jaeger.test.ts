// One request to the demo, seen by a real Jaeger: its query API is what people look at.
import { spawn, type ChildProcess } from "node:child_process";
import t from "tap";
import { freePort } from "../../src/demo/free-port.ts";
import { call, closeCalls, eventually } from "../support/peers/call.ts";
import { cleanEnvironment, startDemo } from "../support/processes/demo.ts";
import { findTool, needs } from "../support/processes/tools.ts";

interface JaegerSpan {
  readonly spanID: string;
  readonly operationName: string;
  readonly processID: string;
  readonly references: readonly {
    readonly refType: string;
    readonly spanID: string;
  }[];
  readonly tags: readonly { readonly key: string; readonly value: unknown }[];
}

interface JaegerTrace {
  readonly traceID: string;
  readonly spans: readonly JaegerSpan[];
  readonly processes: Readonly<
    Record<
      string,
      {
        readonly serviceName: string;
        readonly tags: readonly {
          readonly key: string;
          readonly value: unknown;
        }[];
      }
    >
  >;
}

const jaeger = findTool("jaeger-all-in-one");

interface RunningJaeger {
  readonly otlp: string;
  readonly query: string;
  stop(): Promise<void>;
}

async function startJaeger(binary: string): Promise<RunningJaeger> {
  const [otlp, otlpGrpc, query, queryGrpc, admin, collector, collectorGrpc] =
    await Promise.all(Array.from({ length: 7 }, () => freePort()));
  const at = (port: number | undefined): string => `127.0.0.1:${port ?? 0}`;
  const child: ChildProcess = spawn(
    binary,
    [
      `--collector.otlp.http.host-port=${at(otlp)}`,
      `--collector.otlp.grpc.host-port=${at(otlpGrpc)}`,
      `--query.http-server.host-port=${at(query)}`,
      `--query.grpc-server.host-port=${at(queryGrpc)}`,
      `--admin.http.host-port=${at(admin)}`,
      `--collector.http-server.host-port=${at(collector)}`,
      `--collector.grpc-server.host-port=${at(collectorGrpc)}`,
    ],
    {
      stdio: "ignore",
      env: cleanEnvironment({ COLLECTOR_OTLP_ENABLED: "true" }),
    },
  );
  await eventually(
    "Jaeger answers",
    30_000,
    () => call(`http://${at(query)}/api/services`),
    ({ status }) => status === 200,
  );
  return {
    otlp: `http://${at(otlp)}`,
    query: `http://${at(query)}`,
    stop: () =>
      new Promise((resolve) => {
        child.once("exit", () => resolve());
        child.kill("SIGTERM");
      }),
  };
}

void t.test(
  "Jaeger",
  needs(jaeger === undefined ? ["jaeger-all-in-one"] : []),
  async (t) => {
    const running = await startJaeger(jaeger ?? "jaeger-all-in-one");
    t.teardown(() => running.stop());
    const demo = await startDemo({
      environment: { OTEL_EXPORTER_OTLP_ENDPOINT: running.otlp },
    });
    t.teardown(async () => {
      closeCalls();
      await demo.stop();
    });

    const find = async (
      traceId: string,
      wanted: (trace: JaegerTrace) => boolean,
    ): Promise<JaegerTrace> => {
      const found = await eventually(
        "the trace is in Jaeger",
        20_000,
        async () => {
          const { status, text } = await call(
            `${running.query}/api/traces/${traceId}`,
          );
          return status === 200
            ? (JSON.parse(text) as { data: JaegerTrace[] }).data[0]
            : undefined;
        },
        (trace) => trace !== undefined && wanted(trace),
      );
      if (found === undefined) throw new Error("no trace");
      return found;
    };
    const request = async (): Promise<{ traceId: string }> => {
      const traceId = [...crypto.getRandomValues(new Uint8Array(16))]
        .map((octet) => octet.toString(16).padStart(2, "0"))
        .join("");
      await call(`${demo.file.web}/`, {
        headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
      });
      return { traceId };
    };
    const tag = (span: JaegerSpan, key: string): unknown =>
      span.tags.find((each) => each.key === key)?.value;
    const parentOf = (span: JaegerSpan): string | undefined =>
      span.references.find((reference) => reference.refType === "CHILD_OF")
        ?.spanID;

    await t.test(
      "one request gives one trace with four services, a server and a client span a hop, each under its parent",
      async (t) => {
        const { traceId } = await request();
        // web's inbound hop: 2 spans. Each of the three calls: 2 at web's outbound side, 2 at the callee's inbound side.
        const trace = await find(traceId, ({ spans }) => spans.length >= 14);
        const serviceOf = (span: JaegerSpan): string =>
          trace.processes[span.processID]?.serviceName ?? "";
        t.equal(trace.spans.length, 14);
        t.same([...new Set(trace.spans.map(serviceOf))].sort(), [
          "catalog",
          "orders",
          "payments",
          "web",
        ]);
        const byId = new Map(trace.spans.map((span) => [span.spanID, span]));
        const kind = (span: JaegerSpan): unknown => tag(span, "span.kind");
        for (const span of trace.spans) {
          const parent = byId.get(parentOf(span) ?? "");
          if (kind(span) === "client") {
            t.equal(
              parent === undefined ? undefined : kind(parent),
              "server",
              `${serviceOf(span)}'s client span hangs under a server span`,
            );
            t.equal(
              parent === undefined ? undefined : serviceOf(parent),
              serviceOf(span),
              "of the same sidecar",
            );
          } else if (parent !== undefined) {
            t.equal(
              kind(parent),
              "client",
              `${serviceOf(span)}'s server span hangs under a client span`,
            );
          }
        }
        const roots = trace.spans.filter(
          (span) => !byId.has(parentOf(span) ?? ""),
        );
        t.equal(roots.length, 1, "one span hangs under the caller's");
        t.equal(
          parentOf(roots[0] ?? trace.spans[0] ?? ({} as JaegerSpan)),
          "00f067aa0ba902b7",
        );
        for (const service of ["catalog", "orders", "payments"]) {
          const chain: string[] = [];
          let span = trace.spans.find(
            (each) => serviceOf(each) === service && kind(each) === "client",
          );
          while (span !== undefined) {
            chain.unshift(`${serviceOf(span)} ${String(kind(span))}`);
            span = byId.get(parentOf(span) ?? "");
          }
          t.same(
            chain,
            [
              "web server",
              "web client",
              "web server",
              "web client",
              `${service} server`,
              `${service} client`,
            ],
            `the way to ${service}`,
          );
        }
        for (const span of trace.spans) {
          t.equal(tag(span, "http.response.status_code"), 200);
          t.equal(tag(span, "http.request.method"), "GET");
          t.notOk(tag(span, "error"));
        }
      },
    );

    await t.test("what fails is marked as an error", async (t) => {
      await demo.must("apply", "-f", "config/try/deny.yaml");
      await eventually(
        "the DENY is in force",
        2000,
        () => call(`${demo.file.web}/`),
        ({ status }) => status === 502,
      );
      const { traceId } = await request();
      const trace = await find(traceId, ({ spans }) => spans.length >= 13);
      const failed = trace.spans.filter((span) => tag(span, "error") === true);
      const places = failed
        .map(
          (span) =>
            `${trace.processes[span.processID]?.serviceName ?? ""} ${String(tag(span, "span.kind"))} ${String(tag(span, "http.response.status_code"))}`,
        )
        .sort();
      // The refused call's client span; and web's own page, which failed for its sake, on both sides of web's inbound hop.
      t.same(places, ["web client 403", "web client 502", "web server 502"]);
      const refused = trace.spans.find(
        (span) =>
          tag(span, "http.response.status_code") === 403 &&
          trace.processes[span.processID]?.serviceName === "orders",
      );
      t.equal(
        refused === undefined ? undefined : tag(refused, "wherry.policy"),
        "shop/no-orders",
      );
    });
  },
);
