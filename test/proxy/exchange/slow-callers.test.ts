/** A caller that takes its time is not held against the endpoint: the attempt ends, and nobody is ejected for it. */
import { request, type IncomingMessage, type ServerResponse } from "node:http";
import t from "tap";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { clusterOf } from "../../support/meshes/cluster-view.ts";
import { resource, withPair } from "../../support/meshes/pair.ts";

const LIMIT = 100;

const RESOURCES = [
  resource("HTTPRoute", "orders", {
    parentRefs: [{ group: "", kind: "Service", name: "orders" }],
    rules: [
      {
        timeouts: { request: "10s", backendRequest: `${LIMIT}ms` },
        backendRefs: [{ name: "orders", port: 80 }],
      },
    ],
  }),
  resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    circuitBreaker: { volumeThreshold: 1, errorThresholdPercent: 1 },
    outlierDetection: { consecutive5xxErrors: 1 },
  }),
];

for (const { name, body, ended, held } of [
  { name: "half of a request", body: "a", ended: false, held: false },
  { name: "a whole request", body: "ab", ended: true, held: true },
])
  void t.test(`${name}, and no response in time`, async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const came: IncomingMessage[] = [];
    await withPair(
      {
        clock,
        instances: 2,
        app: () => (incoming: IncomingMessage, response: ServerResponse) => {
          if (incoming.method === "OPTIONS") response.end();
          else incoming.once("data", () => came.push(incoming));
        },
        resources: RESOURCES,
      },
      async (pair) => {
        const call = request({
          host: "127.0.0.1",
          port: pair.caller.ports.outbound,
          method: "POST",
          headers: { host: "orders.shop", "content-length": 2 },
          agent: false,
        });
        let status = 0;
        call.on("response", (response) => {
          status = response.statusCode ?? 0;
          response.resume();
        });
        call.on("error", () => undefined);
        call.write(body);
        if (ended) call.end();
        while (came.length === 0) await clusterOf(pair);
        clock.advance(LIMIT);
        while (status === 0) await clusterOf(pair);
        t.equal(status, 504);
        const view = await clusterOf(pair);
        t.equal(view?.ejections.length, held ? 1 : 0);
        t.equal(view?.breaker.state, held ? "open" : "closed");
        call.destroy();
      },
    );
  });

void t.test(
  "the time of an upload is not the endpoint's: callers keep to it",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    let came = 0;
    await withPair(
      {
        clock,
        app: () => (incoming: IncomingMessage, response: ServerResponse) => {
          incoming.on("data", () => (came += 1));
          incoming.on("end", () => response.end());
        },
      },
      async (pair) => {
        const call = request({
          host: "127.0.0.1",
          port: pair.caller.ports.outbound,
          method: "POST",
          headers: { host: "orders.shop", "content-length": 2 },
          agent: false,
        });
        const over = new Promise<number>((resolve, reject) => {
          call.on("response", (response) => {
            response.resume();
            response.on("end", () => resolve(response.statusCode ?? 0));
          });
          call.on("error", reject);
        });
        call.write("a");
        while (came === 0) await clusterOf(pair);
        clock.advance(9000);
        call.end("b");
        t.equal(await over, 200);
        const latency = Number(
          (await clusterOf(pair))?.endpoints[0]?.["latencyMs"],
        );
        t.ok(latency < 1000, `${latency} ms`);
      },
    );
  },
);
