/** A collector that refuses. In a file of its own: the SDK's provider is one for the process. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import t from "tap";
import { silentLogger } from "../../src/core/log.ts";
import { makeSpanExporter } from "../../src/telemetry/exporter.ts";

void t.test("a refusal costs the spans, not the process", async (t) => {
  let posts = 0;
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
    logger: silentLogger,
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
    start: 1,
    end: 2,
    attributes: {},
    error: undefined,
  });
  await t.resolves(exporter.close());
  t.equal(posts, 1, "a 400 is not worth a second try");
});
