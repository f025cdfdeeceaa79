/** Trap 11: what each time-out covers, what it does after the commit, and what it leaves alone. */
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import t from "tap";
import { fakeClock, passing } from "../../support/clocks/fake-clock.ts";
import { resource, withPair } from "../../support/meshes/pair.ts";

function route(timeouts: Record<string, string>): ReturnType<typeof resource> {
  return resource("HTTPRoute", "orders", {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
    rules: [{ backendRefs: [{ name: "orders", port: 80 }], timeouts }],
  });
}

void t.test(
  "trap 11: after the commit the request's time-out resets the stream",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        clock,
        app: () => (_request, response) => {
          response.writeHead(200, { "content-length": 10 });
          response.write("part");
        },
        resources: [route({ request: "150ms" })],
      },
      async (pair) => {
        await t.rejects(passing(clock, pair.call()));
        t.match(
          pair.log.find(({ direction }) => direction === "outbound"),
          { status: 200, reason: "REQUEST_TIMEOUT" },
        );
      },
    );
  },
);

void t.test(
  "of an attempt's time-out and the request's, that pass together, the request's is told",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        clock,
        app: () => () => undefined,
        resources: [route({ request: "100ms", backendRequest: "100ms" })],
      },
      async (pair) => {
        const { value: answer } = await passing(clock, pair.call());
        t.equal(answer.status, 504);
        t.match(answer.reason, /^REQUEST_TIMEOUT/);
        t.match(
          pair.log.find(({ direction }) => direction === "outbound"),
          { attempts: 1 },
        );
      },
    );
  },
);

void t.test(
  "trap 11: an event stream outlives the request's time-out and the idle time-out",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        clock,
        mesh: { defaults: { timeouts: { streamIdle: "300ms" } } },
        app: () => (_request, response) => {
          response.writeHead(200, { "content-type": "text/event-stream" });
          response.write("data: 1\n\n");
          clock.after(700, () => response.end("data: 2\n\n"));
        },
        resources: [route({ request: "100ms", backendRequest: "100ms" })],
      },
      async (pair) => {
        const { value: answer } = await passing(clock, pair.call());
        t.equal(answer.text, "data: 1\n\ndata: 2\n\n");
      },
    );
  },
);

void t.test(
  "an exchange in which nothing moves ends with IDLE_TIMEOUT",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        clock,
        mesh: { defaults: { timeouts: { streamIdle: "200ms" } } },
        app: () => () => undefined,
      },
      async (pair) => {
        const call = pair.call({ method: "POST", body: "x" });
        const { value: answer } = await passing(clock, call);
        t.equal(answer.status, 504);
        t.match(answer.reason, /^IDLE_TIMEOUT/);
      },
    );
  },
);

void t.test(
  "a caller who does not finish its request is told so",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      { clock, mesh: { defaults: { timeouts: { streamIdle: "200ms" } } } },
      async (pair) => {
        const socket = connect({
          port: pair.caller.ports.outbound ?? 0,
          host: "127.0.0.1",
        });
        socket.write(
          "POST / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 10\r\n\r\nhalf",
        );
        const { value } = await passing(clock, once(socket, "data"));
        const [chunk] = value as [Buffer];
        t.match(chunk.toString(), /^HTTP\/1\.1 408 /);
        t.match(chunk.toString(), /x-wherry-reason: REQUEST_STALLED/);
        socket.destroy();
      },
    );
  },
);

void t.test(
  "trap 11: gRPC goes by its caller's deadline, and is answered in gRPC",
  async (t) => {
    let forwarded: string | undefined;
    const clock = fakeClock({ wall: Date.now() });
    await withPair(
      {
        clock,
        app: () => (request) => {
          const value = request.headers["grpc-timeout"];
          forwarded = typeof value === "string" ? value : undefined;
        },
        resources: [route({ request: "10s" })],
      },
      async (pair) => {
        const { value: answer, ms } = await passing(
          clock,
          pair.call({
            method: "POST",
            path: "/shop.Cart/Add",
            headers: {
              "content-type": "application/grpc",
              "grpc-timeout": "200m",
            },
            body: "\0\0\0\0\0",
          }),
        );
        t.match(answer, {
          status: 200,
          headers: { "grpc-status": "4" },
          reason: "REQUEST_TIMEOUT",
        });
        t.ok(ms >= 200 && ms < 600, `${ms} ms by the sidecars' clock`);
        t.match(forwarded, /^\d+u$/, "the upstream is told what is left");
        t.ok(Number(forwarded?.slice(0, -1)) < 200_000);
      },
    );
  },
);

void t.test(
  "a gRPC status in the trailers counts as the outcome",
  async (t) => {
    await withPair(
      {
        app: () => (request, response) => {
          request.resume();
          request.on("end", () => {
            response.writeHead(200, {
              "content-type": "application/grpc",
              trailer: "grpc-status",
            });
            response.write("\0\0\0\0\0");
            response.addTrailers({ "grpc-status": "14" });
            response.end();
          });
        },
        resources: [
          resource("TrafficPolicy", "orders", {
            targetRefs: [{ kind: "Service", name: "orders" }],
            circuitBreaker: { volumeThreshold: 3, errorThresholdPercent: 50 },
          }),
        ],
      },
      async (pair) => {
        const call = async (): Promise<IncomingMessage> => {
          const request = httpRequest({
            port: pair.caller.ports.outbound,
            method: "POST",
            path: "/shop.Cart/Add",
            agent: false,
            headers: {
              host: "orders.shop",
              te: "trailers",
              "content-type": "application/grpc",
            },
          });
          request.end("\0\0\0\0\0");
          const [response] = (await once(request, "response")) as [
            IncomingMessage,
          ];
          response.resume();
          await once(response, "end");
          return response;
        };
        for (let index = 0; index < 3; index += 1)
          t.equal((await call()).trailers["grpc-status"], "14");
        const refused = await call();
        t.equal(refused.headers["grpc-status"], "14");
        t.equal(refused.headers["x-wherry-reason"], "BREAKER_OPEN");
      },
    );
  },
);
