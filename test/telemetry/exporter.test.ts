/** Spans as a collector gets them: OTLP in protobuf over HTTP, with the ids that travelled with the request. */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { pino } from "pino";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import { silentLogger } from "../../src/core/log.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { makeSpanExporter } from "../../src/telemetry/exporter.ts";
import { makeMetricsExporter } from "../../src/telemetry/metrics-exporter.ts";
import type { SpanRecord } from "../../src/telemetry/tracing.ts";
import { eventually } from "../support/peers/call.ts";
import { startCollector } from "../support/peers/collector.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const START = Date.UTC(2026, 0, 1) + 0.25;

function record(spanId: string, more: Partial<SpanRecord> = {}): SpanRecord {
  return {
    name: "GET orders.shop:80",
    kind: "server",
    traceId: TRACE,
    spanId,
    parentSpanId: undefined,
    traceState: undefined,
    random: false,
    debug: false,
    start: START,
    end: START + 12.5,
    attributes: { "url.path": "/orders", "http.response.status_code": 200 },
    error: undefined,
    ...more,
  };
}

const resource = (): Record<string, string> => ({
  "service.name": "web",
  "service.instance.id": "web-1",
});

void t.test(
  "spans arrive as they were recorded, those from before the start too",
  async (t) => {
    // A sampler of the environment must not be asked again: what comes here was sampled.
    process.env["OTEL_TRACES_SAMPLER"] = "always_off";
    t.teardown(() => delete process.env["OTEL_TRACES_SAMPLER"]);
    const { endpoint, spans, paths, headers } = await startCollector(t);
    const exporter = makeSpanExporter({
      endpoint: `${endpoint}/`,
      resource,
      logger: silentLogger,
      clock: systemClock,
      interval: 10,
    });
    const root = "00f067aa0ba902b1";
    const client = "00f067aa0ba902b2";
    exporter.sink(record(root));
    await Promise.all([exporter.start(), exporter.start()]);
    exporter.sink(
      record(client, {
        kind: "client",
        parentSpanId: root,
        traceState: "vendor=1",
        attributes: { "http.response.status_code": 503 },
        error: "NO_ENDPOINT",
      }),
    );
    exporter.sink(record("00f067aa0ba902b3", { parentSpanId: client }));
    await exporter.close();
    t.equal(exporter.dropped, 0);
    t.ok(paths.every((path) => path === "POST /v1/traces"));
    t.match(headers[0], { "content-type": "application/x-protobuf" });
    const bySpan = new Map(spans.map((span) => [span.spanId, span]));
    t.equal(spans.length, 3, "each once");
    t.strictSame(bySpan.get(root), {
      traceId: TRACE,
      spanId: root,
      parentSpanId: "",
      service: "web",
      instance: "web-1",
      name: "GET orders.shop:80",
      kind: "server",
      start: START,
      end: START + 12.5,
      attributes: { "url.path": "/orders", "http.response.status_code": 200 },
      error: undefined,
    });
    t.match(bySpan.get(client), {
      traceId: TRACE,
      parentSpanId: root,
      kind: "client",
      error: "NO_ENDPOINT",
    });
    t.match(bySpan.get("00f067aa0ba902b3"), {
      parentSpanId: client,
      kind: "server",
      error: undefined,
    });
  },
);

void t.test(
  "before the start spans wait, up to a bound, and are counted past it",
  async (t) => {
    const exporter = makeSpanExporter({
      endpoint: "http://127.0.0.1:1",
      resource,
      logger: silentLogger,
      clock: systemClock,
    });
    for (let index = 0; index < 2050; index += 1)
      exporter.sink(record(index.toString(16).padStart(16, "0")));
    t.equal(exporter.dropped, 2);
    await exporter.close();
  },
);

void t.test(
  "long spans that wait for the start are bounded by their bytes",
  async (t) => {
    const { endpoint, spans } = await startCollector(t);
    const exporter = makeSpanExporter({
      ...{ endpoint, resource, logger: silentLogger, clock: systemClock },
      interval: 10,
    });
    const path = "x".repeat(60_000);
    for (let index = 0; index < 100; index += 1)
      exporter.sink(
        record(index.toString(16).padStart(16, "0"), {
          attributes: { "url.path": path },
        }),
      );
    const held = 100 - exporter.dropped;
    t.ok(held > 50 && held * path.length <= 4 * 1024 * 1024, String(held));
    await exporter.start();
    await exporter.close();
    t.equal(spans.length, held);
  },
);

void t.test("spans wait for no exporter that did not start", async (t) => {
  const exporter = makeSpanExporter({
    endpoint: "http://127.0.0.1:1",
    resource: () => {
      throw new Error("no");
    },
    ...{ logger: silentLogger, clock: systemClock },
  });
  exporter.sink(record("0000000000000001"));
  await exporter.start();
  t.equal(exporter.dropped, 1);
  exporter.sink(record("0000000000000002"));
  t.equal(exporter.dropped, 2);
  await exporter.close();
});

void t.test(
  "while the collector does not answer spans wait, up to a bound, and are counted past it",
  async (t) => {
    const held: ServerResponse[] = [];
    const { endpoint, spans } = await startCollector(
      t,
      (response) => void held.push(response),
    );
    const exporter = makeSpanExporter({
      endpoint,
      resource,
      logger: silentLogger,
      clock: systemClock,
      interval: 10,
    });
    await exporter.start();
    for (let index = 0; index < 9000; index += 1)
      exporter.sink(record(index.toString(16).padStart(16, "0")));
    t.equal(exporter.dropped, 9000 - 8192);
    const closed = exporter.close();
    await eventually(
      "all that waits has come",
      10_000,
      () => Promise.resolve(spans.length),
      (length) => length === 8192,
    );
    for (const response of held) response.writeHead(200).end();
    await closed;
    t.equal(spans.length, 8192, "each once");
  },
);

/** Where the collector begins its response, and drips. */
async function dripping(t: Scope): Promise<Slow> {
  let began = (): void => undefined;
  const reached = new Promise<void>((resolve) => (began = resolve));
  const { endpoint } = await startCollector(t, (response) => {
    response.writeHead(200, { "content-length": 1000 }).write("x");
    began();
  });
  return { endpoint, reached };
}

/** Where the kernel drops what begins a connection: its queue is full, and the thread that would accept does nothing more. */
async function deaf(t: Scope): Promise<Slow> {
  const worker = new Worker(
    `const { createServer } = require("node:net");
    const { parentPort } = require("node:worker_threads");
    const server = createServer();
    server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
      parentPort.postMessage(server.address().port);
      setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
    });`,
    { eval: true },
  );
  t.teardown(() => worker.terminate());
  const [port] = (await once(worker, "message")) as [number];
  const sockets: Socket[] = [];
  t.teardown(() => sockets.forEach((socket) => socket.destroy()));
  for (let index = 0; index < 8; index += 1)
    sockets.push(connect(port, "127.0.0.1"));
  return { endpoint: `http://127.0.0.1:${port}`, reached: Promise.resolve() };
}

interface Slow {
  readonly endpoint: string;
  /** Once a message has come so far as it will. */
  readonly reached: Promise<void>;
}
type Scope = Parameters<typeof startCollector>[0];

for (const [what, start] of [
  ["drips", dripping],
  ["accepts no connection", deaf],
] as const)
  void t.test(
    `the end does not wait longer than it should for a collector that ${what}`,
    async (t) => {
      const { endpoint, reached } = await start(t);
      const clock = fakeClock();
      const log: string[] = [];
      const logger = pino({}, { write: (line: string) => log.push(line) });
      const common = { endpoint, resource, logger, clock };
      const spans = makeSpanExporter(common);
      const metrics = makeMetricsExporter({
        ...{ ...common, protocol: "http/protobuf", interval: 60_000 },
        read: () => Promise.resolve("# HELP a A.\n# TYPE a gauge\na 1\n"),
      });
      await Promise.all([spans.start(), metrics.start()]);
      spans.sink(record("00f067aa0ba902b1"));
      const closed = [spans.close(), metrics.close()];
      await reached;
      await eventually(
        "both wait for the end",
        10_000,
        () => Promise.resolve(clock.pending),
        (pending) => pending === 2,
      );
      clock.advance(5000);
      await Promise.all(closed);
      t.match(log.join(""), /spans were lost at shutdown/);
      t.match(log.join(""), /metrics were lost at shutdown/);
    },
  );
