/** Streams that policy ends are not held against the instances that served them. */
import { once } from "node:events";
import {
  get,
  request,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import t from "tap";
import { clusterOf } from "../../support/meshes/cluster-view.ts";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";

function open(pair: Pair): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(
      {
        host: "127.0.0.1",
        port: pair.caller.ports.outbound,
        headers: { host: "orders.shop" },
        agent: false,
      },
      resolve,
    ).on("error", reject);
  });
}

const POLICY_SPEC = {
  targetRefs: [{ kind: "Service", name: "orders" }],
  loadBalancer: { simple: "ROUND_ROBIN" },
  outlierDetection: { consecutive5xxErrors: 2 },
};
const POLICY = resource("TrafficPolicy", "orders", POLICY_SPEC);
const NOBODY = resource("AuthorizationPolicy", "nobody", {
  selector: { matchLabels: { app: "orders" } },
});

for (const { name, denied, ejected } of [
  { name: "a new policy ends", denied: true, ejected: 0 },
  { name: "the applications break off", denied: false, ejected: 1 },
])
  void t.test(`event streams that ${name}`, async (t) => {
    const responses: ServerResponse[] = [];
    await withPair(
      {
        instances: 2,
        app: () => (_request: IncomingMessage, response: ServerResponse) => {
          response.writeHead(200, { "content-type": "text/event-stream" });
          response.write("data: 1\n\n");
          responses.push(response);
        },
        resources: [POLICY],
      },
      async (pair) => {
        const streams: IncomingMessage[] = [];
        for (let index = 0; index < 8; index += 1)
          streams.push(await open(pair));
        const ended = streams.map(
          (stream) =>
            new Promise((resolve) => {
              stream.on("error", resolve);
              stream.on("close", resolve);
              stream.resume();
            }),
        );
        if (denied) pair.apply([POLICY, NOBODY]);
        else for (const response of responses) response.destroy();
        await Promise.all(ended);
        t.equal((await clusterOf(pair))?.ejections.length, ejected);
      },
    );
  });

void t.test(
  "a request body that is too long is its caller's fault alone",
  async (t) => {
    await withPair(
      {
        instances: 2,
        app: () => (request: IncomingMessage, response: ServerResponse) => {
          response.writeHead(200);
          response.flushHeaders();
          request.resume();
        },
        resources: [
          resource("TrafficPolicy", "orders", {
            ...POLICY_SPEC,
            maxRequestBodyBytes: 1000,
          }),
        ],
      },
      async (pair) => {
        for (let index = 0; index < 8; index += 1) {
          const call = request({
            host: "127.0.0.1",
            port: pair.caller.ports.outbound,
            method: "POST",
            headers: { host: "orders.shop" },
            agent: false,
          });
          call.flushHeaders();
          call.write("x".repeat(500));
          const [response] = (await once(call, "response")) as [
            IncomingMessage,
          ];
          response.resume();
          call.on("error", () => undefined);
          const ended = new Promise((resolve) => {
            response.on("error", resolve);
            response.on("close", resolve);
          });
          call.write("x".repeat(501));
          await ended;
        }
        await until(() => pair.log.length === 16);
        t.ok(pair.log.some(({ reason }) => reason === "BODY_TOO_LARGE"));
        t.equal((await clusterOf(pair))?.ejections.length, 0);
      },
    );
  },
);
