// Spans by OTLP over gRPC, as a receiver built on gRPC's own library gets them.
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerUnaryCall,
} from "@grpc/grpc-js";
import { pino } from "pino";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import { readExport, type ReceivedSpan } from "../../src/demo/otlp.ts";
import { makeSpanExporter } from "../../src/telemetry/exporter.ts";
import { addressOf } from "../../src/telemetry/otlp-grpc.ts";
import type { SpanRecord } from "../../src/telemetry/tracing.ts";

const SPAN: SpanRecord = {
  name: "GET orders.shop:80",
  kind: "server",
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  spanId: "00f067aa0ba902b1",
  parentSpanId: undefined,
  traceState: undefined,
  random: true,
  debug: false,
  start: 1,
  end: 2,
  attributes: { "url.path": "/" },
  error: undefined,
};

void t.test("a collector is called at the port that its URL has", (t) => {
  for (const [endpoint, address] of [
    ["http://collector:4317", "collector:4317"],
    ["http://collector:80", "collector:80"],
    ["https://collector:443/", "collector:443"],
    ["https://collector", "collector:443"],
    ["http://[::1]:80", "[::1]:80"],
  ] as const)
    t.equal(addressOf(new URL(endpoint)), address);
  t.end();
});

const asIs = (octets: Buffer): Buffer => octets;

void t.test("a receiver by gRPC gets the spans", async (t) => {
  const spans: ReceivedSpan[] = [];
  const headers: unknown[] = [];
  process.env["OTEL_EXPORTER_OTLP_HEADERS"] =
    "Api-Key=a%20b, x-tenant=web,,=none,x-odd=%,x-signal=all";
  process.env["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] = "x-signal=traces";
  process.env["OTEL_EXPORTER_OTLP_METRICS_HEADERS"] = "x-signal=metrics";
  t.teardown(() => {
    delete process.env["OTEL_EXPORTER_OTLP_HEADERS"];
    delete process.env["OTEL_EXPORTER_OTLP_TRACES_HEADERS"];
    delete process.env["OTEL_EXPORTER_OTLP_METRICS_HEADERS"];
  });
  const server = new Server();
  server.addService(
    {
      Export: {
        path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        requestStream: false,
        responseStream: false,
        requestSerialize: asIs,
        requestDeserialize: asIs,
        responseSerialize: asIs,
        responseDeserialize: asIs,
      },
    },
    {
      Export(
        { request, metadata }: ServerUnaryCall<Buffer, Buffer>,
        done: sendUnaryData<Buffer>,
      ) {
        headers.push(metadata.getMap());
        spans.push(...readExport(request));
        done(null, Buffer.alloc(0));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(
      "127.0.0.1:0",
      ServerCredentials.createInsecure(),
      (error, bound) => (error === null ? resolve(bound) : reject(error)),
    ),
  );
  t.teardown(() => server.forceShutdown());
  const log: string[] = [];
  const exporter = makeSpanExporter({
    endpoint: `http://127.0.0.1:${port}`,
    protocol: "grpc",
    resource: () => ({ "service.name": "web" }),
    clock: systemClock,
    logger: pino({}, { write: (line: string) => log.push(line) }),
  });
  await exporter.start();
  exporter.sink(SPAN);
  await exporter.close();
  t.match(spans, [
    { spanId: SPAN.spanId, service: "web", attributes: { "url.path": "/" } },
  ]);
  t.match(headers, [{ "api-key": "a b", "x-tenant": "web", "x-odd": "%" }]);
  t.match(headers, [{ "x-signal": "traces" }]);
  t.same(log, []);
});
