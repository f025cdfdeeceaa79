/** The trial of an ejected endpoint may be a stream without an end: what it responded brings it back, not the end of the stream. */
import { get, type IncomingMessage, type ServerResponse } from "node:http";
import t from "tap";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import type { EndpointView } from "../../../src/sidecar/workers/views.ts";
import { clusterOf } from "../../support/meshes/cluster-view.ts";
import { resource, withPair, type Pair } from "../../support/meshes/pair.ts";

async function first(pair: Pair): Promise<EndpointView | undefined> {
  return (await clusterOf(pair))?.endpoints[0];
}

/** The head of a stream that goes on; time passes until it is there, for a repeated request waits a little. */
async function open(pair: Pair, clock: FakeClock): Promise<IncomingMessage> {
  let stream: IncomingMessage | undefined;
  const request = get(
    {
      host: "127.0.0.1",
      port: pair.caller.ports.outbound,
      headers: { host: "orders.shop" },
      agent: false,
    },
    (response) => (stream = response),
  );
  for (;;) {
    await new Promise((resolve) => void setImmediate(resolve));
    if (request.errored) throw request.errored;
    if (stream !== undefined) return stream;
    clock.advance(0.1);
  }
}

for (const { status, back } of [
  { status: 200, back: true },
  { status: 500, back: false },
])
  void t.test(
    `the trial is an event stream with status ${status}`,
    async (t) => {
      const clock = fakeClock({ wall: Date.now() });
      let fails = true;
      let trials = 0;
      const app =
        (index: number) =>
        (request: IncomingMessage, response: ServerResponse): void => {
          if (index === 0 && fails) {
            response.statusCode = request.method === "OPTIONS" ? 204 : 500;
            response.end();
          } else if (request.method === "OPTIONS") response.end();
          else {
            if (index === 0) trials += 1;
            response.writeHead(index === 0 ? status : 200, {
              "content-type": "text/event-stream",
            });
            response.write("data: 1\n\n");
          }
        };
      await withPair(
        {
          clock,
          instances: 2,
          app,
          resources: [
            resource("TrafficPolicy", "orders", {
              targetRefs: [{ kind: "Service", name: "orders" }],
              loadBalancer: { simple: "ROUND_ROBIN" },
              outlierDetection: { consecutive5xxErrors: 1 },
            }),
          ],
        },
        async (pair) => {
          const streams: IncomingMessage[] = [];
          while ((await first(pair))?.["held"] !== true)
            streams.push(await open(pair, clock));
          fails = false;
          while ((await first(pair))?.["held"] === true) clock.advance(25);
          t.equal((await first(pair))?.["onProbation"], true);
          while (trials === 0) streams.push(await open(pair, clock));
          streams.push(await open(pair, clock));
          t.equal((await first(pair))?.["onProbation"], !back);
          for (const stream of streams) stream.destroy();
        },
      );
    },
  );
