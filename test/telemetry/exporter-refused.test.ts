/** A collector that refuses. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pino } from "pino";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import { makeSpanExporter } from "../../src/telemetry/exporter.ts";

void t.test("a refusal costs the spans, not the process", async (t) => {
  let posts = 0;
  const warnings: string[] = [];
  const server = createServer((request, response) => {
    posts += 1;
    request.resume();
    response.writeHead(400).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const exporter = makeSpanExporter({
    endpoint: `http://127.0.0.1:${port}`,
    resource: () => ({ "service.name": "web" }),
    clock: systemClock,
    logger: pino({}, { write: (line: string) => warnings.push(line) }),
    interval: 10,
  });
  await exporter.start();
  exporter.sink({
    name: "GET web.shop:80",
    kind: "server",
    traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
    spanId: "00f067aa0ba902b1",
    parentSpanId: undefined,
    traceState: undefined,
    random: false,
    debug: false,
    start: 1,
    end: 2,
    attributes: {},
    error: undefined,
  });
  await t.resolves(exporter.close());
  t.equal(posts, 1, "a 400 is not worth a second try");
  t.match(
    warnings,
    [/"error":.*the collector does not take spans/],
    "and is told of",
  );
});
