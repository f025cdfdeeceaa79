// Metrics by OTLP: what `/metrics` shows, as a receiver gets it by HTTP and by gRPC.
import { once } from "node:events";
import { createServer } from "node:http";
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerUnaryCall,
} from "@grpc/grpc-js";
import { DataPointType } from "@opentelemetry/sdk-metrics";
import { pino } from "pino";
import protobuf from "protobufjs";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import { makeMetricsExporter } from "../../src/telemetry/metrics-exporter.ts";
import { makeMetrics } from "../../src/telemetry/metrics.ts";
import { readMetrics } from "../../src/telemetry/otlp-metrics.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { listening } from "../support/meshes/pair.ts";

/** opentelemetry-proto 1.x, as far as our metrics go. */
const REQUEST = protobuf
  .parse(
    `
syntax = "proto3";
message Request { repeated ResourceMetrics resource_metrics = 1; }
message ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scope_metrics = 2; }
message Resource { repeated KeyValue attributes = 1; }
message ScopeMetrics { repeated Metric metrics = 2; }
message Metric { string name = 1; string description = 2; string unit = 3; Gauge gauge = 5; Sum sum = 7; Histogram histogram = 9; }
message Gauge { repeated Point points = 1; }
message Sum { repeated Point points = 1; int32 temporality = 2; bool monotonic = 3; }
message Histogram { repeated HistogramPoint points = 1; int32 temporality = 2; }
message Point { repeated KeyValue attributes = 7; fixed64 start = 2; fixed64 time = 3; double value = 4; }
message HistogramPoint { repeated KeyValue attributes = 9; fixed64 count = 4; double sum = 5; repeated fixed64 counts = 6; repeated double bounds = 7; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { string text = 1; }
`,
  )
  .root.lookupType("Request");

function read(octets: Uint8Array): unknown {
  return REQUEST.toObject(REQUEST.decode(octets), { longs: Number });
}

function registry(): ReturnType<typeof makeMetrics> {
  const metrics = makeMetrics({ maxSeries: 100 });
  const requests = metrics.counter("a_total", "All of\nthem.", ["to", "why"]);
  requests.with("orders", 'say "no"\\\n').add(3);
  requests.with("web", "").add();
  metrics.gauge("b_bytes", "Held.").with().set(-1.5);
  const durations = metrics.histogram("c_seconds", "Time.", ["to"], [0.1, 1]);
  for (const value of [0.05, 0.5, 0.5, 7]) durations.with("web").record(value);
  return metrics;
}

const pair = (key: string, text?: string) => ({
  key,
  value: text === undefined ? {} : { text },
});

const SHOWN = [
  {
    name: "a_total",
    description: "All of\nthem.",
    unit: "1",
    sum: {
      temporality: 2,
      monotonic: true,
      points: [
        {
          attributes: [pair("to", "orders"), pair("why", 'say "no"\\\n')],
          value: 3,
        },
        { attributes: [pair("to", "web"), pair("why")], value: 1 },
      ],
    },
  },
  { name: "b_bytes", unit: "By", gauge: { points: [{ value: -1.5 }] } },
  {
    name: "c_seconds",
    unit: "s",
    description: "Time.",
    histogram: {
      temporality: 2,
      points: [
        {
          attributes: [pair("to", "web")],
          count: 4,
          sum: 8.05,
          counts: [1, 2, 1],
          bounds: [0.1, 1],
        },
      ],
    },
  },
];

const asIs = (octets: Buffer): Buffer => octets;

/** A receiver by gRPC, and its port. */
async function grpcReceiver(bodies: Buffer[]): Promise<[Server, number]> {
  const server = new Server();
  server.addService(
    {
      Export: {
        path: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
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
        { request }: ServerUnaryCall<Buffer, Buffer>,
        done: sendUnaryData<Buffer>,
      ) {
        bodies.push(request);
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
  return [server, port];
}

void t.test("a receiver gets what /metrics shows, by gRPC", async (t) => {
  const bodies: Buffer[] = [];
  const [server, port] = await grpcReceiver(bodies);
  t.teardown(() => server.forceShutdown());
  const metrics = registry();
  const exporter = makeMetricsExporter({
    endpoint: `http://127.0.0.1:${port}`,
    protocol: "grpc",
    interval: 60_000,
    read: () => Promise.resolve(metrics.render()),
    resource: () => ({ "service.name": "web" }),
    clock: systemClock,
    logger: pino({ enabled: false }),
  });
  await exporter.start();
  t.equal(bodies.length, 0, "nothing before the interval");
  await exporter.close();
  t.match(bodies.map(read), [
    {
      resourceMetrics: [
        {
          resource: { attributes: [pair("service.name", "web")] },
          scopeMetrics: [{ metrics: SHOWN }],
        },
      ],
    },
  ]);
});

void t.test(
  "by HTTP, at each interval, and a receiver that fails gets the next",
  async (t) => {
    const bodies: Buffer[] = [];
    const urls: unknown[] = [];
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => void chunks.push(chunk));
      request.on("end", () => {
        urls.push(request.url);
        bodies.push(Buffer.concat(chunks));
        response.writeHead(bodies.length === 1 ? 400 : 200).end();
        server.emit("taken");
      });
    });
    const port = await listening(server);
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    const clock = fakeClock();
    const log: string[] = [];
    const metrics = registry();
    const exporter = makeMetricsExporter({
      endpoint: `http://127.0.0.1:${port}/`,
      protocol: "http/protobuf",
      interval: 60_000,
      read: () => Promise.resolve(metrics.render()),
      resource: () => ({}),
      clock,
      logger: pino(
        {},
        {
          write: (line: string) => {
            log.push(line);
            server.emit("said");
          },
        },
      ),
    });
    await exporter.start();
    for (const [index, said] of [
      /does not take metrics/,
      /takes metrics again/,
    ].entries()) {
      const heard = once(server, "said");
      clock.advance(60_000);
      await heard;
      t.equal(bodies.length, index + 1);
      t.match(log[index], said);
    }
    await exporter.close();
    t.equal(bodies.length, 3, "the last counts at the end");
    t.same(log.length, 2);
    t.same(new Set(urls), new Set(["/v1/metrics"]));
    t.match(read(bodies[2] ?? Buffer.alloc(0)), {
      resourceMetrics: [{ scopeMetrics: [{ metrics: SHOWN }] }],
    });
  },
);

void t.test("a family without series is a metric without points", (t) => {
  const metrics = makeMetrics({ maxSeries: 1 });
  metrics.counter("a_total", "A.", ["to"]);
  metrics.histogram("b_seconds", "B.", [], [1]);
  t.match(readMetrics(metrics.render(), [1, 0], [2, 0]), [
    { dataPointType: DataPointType.SUM, dataPoints: [] },
    { dataPointType: DataPointType.HISTOGRAM, dataPoints: [] },
  ]);
  t.end();
});
