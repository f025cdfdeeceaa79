/** The trial of an ejected endpoint: one call at a time, sent after the ejection. It may be a stream without an end, and what that responded brings it back. */
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

/** Two instances, in turn, of which one failure ejects one. */
const TWO_IN_TURN = {
  instances: 2,
  resources: [
    resource("TrafficPolicy", "orders", {
      targetRefs: [{ kind: "Service", name: "orders" }],
      loadBalancer: { simple: "ROUND_ROBIN" },
      outlierDetection: { consecutive5xxErrors: 1 },
    }),
  ],
};

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
      await withPair({ clock, app, ...TWO_IN_TURN }, async (pair) => {
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
      });
    },
  );

/** How a stream ends that began before its endpoint was ejected. */
const OLD_ENDS: Readonly<
  Record<
    string,
    (client: IncomingMessage, server: ServerResponse | undefined) => void
  >
> = {
  "its caller leaves": (client) => void client.destroy(),
  "it breaks": (_client, server) => void server?.socket?.destroy(),
  "it ends well": (_client, server) => void server?.end(),
};

for (const [how, end] of Object.entries(OLD_ENDS))
  void t.test(
    `a call from before the ejection is no trial: ${how}`,
    async (t) => {
      const clock = fakeClock({ wall: Date.now() });
      const old: ServerResponse[] = [];
      const trials: ServerResponse[] = [];
      let elsewhere = 0;
      const app =
        (index: number) =>
        (request: IncomingMessage, response: ServerResponse): void => {
          if (request.method === "OPTIONS") return void response.end();
          if (request.url === "/") {
            if (index === 0) old.push(response);
            response.writeHead(200, { "content-type": "text/event-stream" });
            response.write("data: 1\n\n");
          } else if (index !== 0) {
            if (request.url === "/try") elsewhere += 1;
            response.end();
          } else if (request.url === "/try") trials.push(response);
          else response.writeHead(500).end();
        };
      await withPair({ clock, app, ...TWO_IN_TURN }, async (pair) => {
        const streams: IncomingMessage[] = [];
        const before: IncomingMessage[] = [];
        while (before.length < 3) {
          const stream = await open(pair, clock);
          stream.on("error", () => undefined).resume();
          (old.length > before.length ? before : streams).push(stream);
        }
        while ((await first(pair))?.["held"] !== true)
          await pair.call({ path: "/fail", method: "POST" });
        while ((await first(pair))?.["held"] === true) clock.advance(25);
        const calls: Promise<unknown>[] = [];
        const send = async (): Promise<void> => {
          const served = trials.length + elsewhere;
          calls.push(pair.call({ path: "/try" }));
          while (trials.length + elsewhere === served)
            await new Promise((resolve) => void setImmediate(resolve));
        };
        while (trials.length === 0) await send();
        for (const [index, stream] of before.entries()) {
          const gone = new Promise((resolve) => stream.on("close", resolve));
          end(stream, old[index]);
          await gone;
          await send();
        }
        t.equal(trials.length, 1, "one trial at a time");
        const view = await first(pair);
        t.match(view, { onProbation: true, ejectedForMs: 0 });
        for (const trial of trials) trial.end();
        await Promise.all(calls);
        t.equal((await first(pair))?.["onProbation"], false);
        for (const stream of streams) stream.destroy();
      });
    },
  );
