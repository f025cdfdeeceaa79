// What Zipkin gets: its API's JSON, version 2, and what becomes of a batch that it does not take.
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { pino } from "pino";
import t, { type Test } from "tap";
import { systemClock, type Clock } from "../../src/core/clock.ts";
import {
  makeSpanExporter,
  type SpanExporter,
} from "../../src/telemetry/exporter.ts";
import type { SpanRecord } from "../../src/telemetry/tracing.ts";
import { listening } from "../support/meshes/pair.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const START = Date.UTC(2026, 0, 1) + 0.25;

const record = (
  spanId: string,
  more: Partial<SpanRecord> = {},
): SpanRecord => ({
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
  attributes: {},
  error: undefined,
  ...more,
});

interface Setup {
  readonly exporter: SpanExporter;
  readonly bodies: unknown[];
  readonly requests: IncomingMessage[];
  readonly log: string[];
}

/** Zipkin's API, which responds with these statuses in turn, and with 202 after them. */
async function setUp(
  t: Test,
  statuses: readonly number[] = [],
): Promise<Setup> {
  const bodies: unknown[] = [];
  const requests: IncomingMessage[] = [];
  const log: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => void chunks.push(chunk));
    request.on("end", () => {
      response.statusCode = statuses[requests.length] ?? 202;
      requests.push(request);
      bodies.push(JSON.parse(Buffer.concat(chunks).toString()));
      response.end();
    });
  });
  const port = await listening(server);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const exporter = makeSpanExporter({
    endpoint: `http://127.0.0.1:${port}/api/v2/spans`,
    protocol: "zipkin",
    resource: () => ({ "service.name": 'we"b' }),
    clock: systemClock,
    logger: pino({}, { write: (line: string) => log.push(line) }),
  });
  await exporter.start();
  return { exporter, bodies, requests, log };
}

void t.test("spans have Zipkin's form", async (t) => {
  const { exporter, bodies, requests } = await setUp(t);
  exporter.sink(
    record("00f067aa0ba902b1", {
      debug: true,
      attributes: {
        "client.address": "::1",
        "http.response.status_code": 200,
        "url.path": "/ü",
      },
    }),
  );
  exporter.sink(
    record("00f067aa0ba902b2", {
      kind: "client",
      parentSpanId: "00f067aa0ba902b1",
      end: START,
      attributes: { "server.address": "10.0.0.7", "server.port": 8080 },
      error: "NO_ENDPOINT",
    }),
  );
  exporter.sink(
    record("00f067aa0ba902b3", {
      kind: "client",
      attributes: { "server.address": "api.example.com", "server.port": 443 },
    }),
  );
  await exporter.close();
  const common = {
    traceId: TRACE,
    name: "GET orders.shop:80",
    timestamp: START * 1000,
    localEndpoint: { serviceName: 'we"b' },
  };
  t.strictSame(bodies, [
    [
      {
        ...common,
        id: "00f067aa0ba902b1",
        kind: "SERVER",
        duration: 12_500,
        remoteEndpoint: { ipv6: "::1" },
        tags: {
          "client.address": "::1",
          "http.response.status_code": "200",
          "url.path": "/ü",
        },
        debug: true,
      },
      {
        ...common,
        id: "00f067aa0ba902b2",
        parentId: "00f067aa0ba902b1",
        kind: "CLIENT",
        duration: 1,
        remoteEndpoint: { ipv4: "10.0.0.7", port: 8080 },
        tags: {
          "server.address": "10.0.0.7",
          "server.port": "8080",
          error: "NO_ENDPOINT",
        },
      },
      {
        ...common,
        id: "00f067aa0ba902b3",
        kind: "CLIENT",
        duration: 12_500,
        tags: { "server.address": "api.example.com", "server.port": "443" },
      },
    ],
  ]);
  t.match(requests[0], {
    method: "POST",
    url: "/api/v2/spans",
    headers: { "content-type": "application/json" },
  });
  t.equal(exporter.dropped, 0);
});

void t.test(
  "what may be taken later is posted again, three times in all",
  async (t) => {
    for (const [statuses, posts, lost] of [
      [[503, 429], 3, false],
      [[503, 502, 504], 3, true],
      [[400], 1, true],
      [[500], 1, true],
      [[200], 1, false],
    ] as const) {
      const { exporter, requests, log } = await setUp(t, statuses);
      exporter.sink(record("00f067aa0ba902b1"));
      await exporter.close();
      t.equal(requests.length, posts, statuses.join());
      t.equal(log.join("").includes("they are lost"), lost, statuses.join());
    }
  },
);

void t.test(
  "where nothing listens spans are lost, and that is said once",
  async (t) => {
    const log: string[] = [];
    const exporter = makeSpanExporter({
      endpoint: "http://127.0.0.1:1/api/v2/spans",
      protocol: "zipkin",
      resource: () => ({}),
      clock: systemClock,
      logger: pino({}, { write: (line: string) => log.push(line) }),
    });
    await exporter.start();
    exporter.sink(record("00f067aa0ba902b1"));
    await exporter.close();
    t.equal(log.length, 1);
    t.match(log[0], /ECONNREFUSED/);
  },
);

void t.test(
  "at the end what is on its way is waited for, and not for ever",
  async (t) => {
    const held = createServer();
    const port = await listening(held);
    t.teardown(() => {
      held.closeAllConnections();
      held.close();
    });
    let end: (() => void) | undefined;
    const clock: Clock = {
      ...systemClock,
      after(ms, callback) {
        if (ms === 5000) end = callback;
        return systemClock.after(ms, callback);
      },
    };
    const log: string[] = [];
    const exporter = makeSpanExporter({
      endpoint: `http://127.0.0.1:${port}/api/v2/spans`,
      protocol: "zipkin",
      resource: () => ({}),
      clock,
      logger: pino({}, { write: (line: string) => log.push(line) }),
    });
    await exporter.start();
    exporter.sink(record("00f067aa0ba902b1"));
    const closed = exporter.close();
    await once(held, "request");
    t.same(log, []);
    end?.();
    await closed;
    t.match(log[0], /they are lost/);
  },
);
