/** The demo's own server: takes spans, refuses what is none, passes them on without waiting. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import t, { type Test } from "tap";
import { request } from "undici";
import { systemClock } from "../../src/core/clock.ts";
import { localToken } from "../../src/core/local/local-token.ts";
import { startControl } from "../../src/demo/control.ts";
import { makeTraceStore, type TraceStore } from "../../src/demo/trace-store.ts";

async function start(
  t: Test,
  forwardTo?: string,
): Promise<{ readonly url: string; readonly traces: TraceStore }> {
  const traces = makeTraceStore({ maxTraces: 10 });
  const control = await startControl({
    clock: systemClock,
    port: 0,
    traces,
    processes: new Map(),
    forwardTo,
    token: localToken("/state/demo.token", "lever"),
  });
  t.teardown(() => control.close());
  const { port } = control.server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, traces };
}

/** ExportTraceServiceRequest { resource_spans { scope_spans { spans { trace_id: "\x01\x02\x03\x04" } } } } */
const EXPORT = Buffer.from([
  ...[0x0a, 0x0a, 0x12, 0x08, 0x12, 0x06],
  ...[0x0a, 0x04, 1, 2, 3, 4],
]);

async function post(
  url: string,
  body: Buffer,
  type = "application/x-protobuf",
): Promise<number> {
  const answer = await request(`${url}/v1/traces`, {
    method: "POST",
    headers: { "content-type": type },
    body,
  });
  await answer.body.dump();
  return answer.statusCode;
}

void t.test("spans are taken; what is none is refused", async (t) => {
  const { url, traces } = await start(t);
  t.equal(await post(url, EXPORT), 200);
  t.equal(traces.get("01020304")?.length, 1);
  t.equal(await post(url, Buffer.from("nonsense")), 400);
  t.equal(await post(url, Buffer.from("{}"), "application/json"), 415);
  t.equal(traces.list().length, 1);
});

void t.test(
  "a collector gets the same octets, and may hang without harm",
  async (t) => {
    const waiting: ServerResponse[] = [];
    const collector = createServer((_request, response) => {
      waiting.push(response);
    }).listen(0, "127.0.0.1");
    await once(collector, "listening");
    t.teardown(() => {
      collector.closeAllConnections();
      collector.close();
    });
    const { port } = collector.address() as AddressInfo;
    const { url, traces } = await start(t, `http://127.0.0.1:${port}/`);
    const arrived = once(collector, "request");
    t.equal(
      await post(url, EXPORT),
      200,
      "answered though the collector is not",
    );
    t.equal(traces.list().length, 1);
    const [incoming] = (await arrived) as [
      AsyncIterable<Buffer> & { url: string },
    ];
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    t.strictSame(Buffer.concat(chunks), EXPORT);
    t.equal(incoming.url, "/v1/traces");
    t.equal(waiting.length, 1);
  },
);

void t.test("a collector that is not there is nobody's trouble", async (t) => {
  const { url } = await start(t, "http://127.0.0.1:1");
  t.equal(await post(url, EXPORT), 200);
});
