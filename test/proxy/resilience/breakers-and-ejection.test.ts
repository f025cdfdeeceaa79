/** Breaker, ejection and the limits of the pool, against real instances. */
import { once } from "node:events";
import { connect, createServer } from "node:http2";
import type { Socket } from "node:net";
import t from "tap";
import {
  resource,
  send,
  until,
  withPair,
  type Pair,
} from "../../support/meshes/pair.ts";

function trafficPolicy(
  spec: Record<string, unknown>,
): ReturnType<typeof resource> {
  return resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    ...spec,
  });
}

interface ClustersView {
  readonly clusters: readonly {
    readonly key: string;
    readonly active: number;
    readonly pending: number;
    readonly breaker: { readonly state: string };
    readonly ejections: readonly { readonly reason: string }[];
    readonly endpoints: readonly { readonly ejectedForMs: number }[];
  }[];
}

async function clusters(pair: Pair): Promise<ClustersView["clusters"]> {
  const { text } = await send(pair.caller.ports.admin ?? 0, {
    path: "/clusters",
    host: "127.0.0.1",
  });
  return (JSON.parse(text) as ClustersView).clusters;
}

void t.test(
  "the breaker opens on failures, fails fast, lets one probe through and closes on its success",
  async (t) => {
    let healthy = false;
    let seen = 0;
    await withPair(
      {
        app: () => (_request, response) => {
          seen += 1;
          response.statusCode = healthy ? 200 : 500;
          response.end();
        },
        resources: [
          trafficPolicy({
            circuitBreaker: {
              errorThresholdPercent: 50,
              volumeThreshold: 10,
              window: "10s",
              resetTimeout: "1s",
            },
            outlierDetection: {
              consecutive5xxErrors: 0,
              consecutiveLocalOriginFailures: 0,
              successRate: { thresholdPercent: 0 },
            },
          }),
        ],
      },
      async (pair) => {
        for (let index = 0; index < 10; index += 1)
          t.equal((await pair.call()).status, 500);
        const refused = await pair.call();
        t.equal(refused.status, 503);
        t.equal(refused.reason, "BREAKER_OPEN");
        t.ok(Number(refused.headers["retry-after"]) >= 1);
        t.equal(seen, 10, "the service sees none of it");
        t.equal(
          await pair.metric(pair.caller, "wherry_breaker_state", "orders"),
          2,
        );
        // opossum's own timer runs in real time: its half-open state is waited for, not slept for.
        let state = "";
        while (state !== "half-open")
          state = (await clusters(pair))[0]?.breaker.state ?? "";
        t.equal((await pair.call()).status, 500, "the probe goes through");
        t.equal(
          (await pair.call()).reason,
          "BREAKER_OPEN",
          "and opens it again",
        );
        healthy = true;
        state = "";
        while (state !== "half-open")
          state = (await clusters(pair))[0]?.breaker.state ?? "";
        t.equal((await pair.call()).status, 200);
        await until(() => true);
        t.equal((await clusters(pair))[0]?.breaker.state, "closed");
        healthy = false;
        t.equal((await pair.call()).status, 500);
        t.equal(
          (await pair.call()).status,
          500,
          "one failure after it closed does not open it: its window is new",
        );
      },
    );
  },
);

void t.test("an endpoint that fails is ejected, and says why", async (t) => {
  const seen = [0, 0, 0];
  await withPair(
    {
      instances: 3,
      app: (index) => (_request, response) => {
        seen[index] = (seen[index] ?? 0) + 1;
        response.statusCode = index === 2 ? 500 : 200;
        response.end();
      },
      resources: [
        trafficPolicy({
          loadBalancer: { simple: "ROUND_ROBIN" },
          outlierDetection: {
            consecutive5xxErrors: 3,
            baseEjectionTime: "60s",
            maxEjectionTime: "60s",
          },
        }),
      ],
    },
    async (pair) => {
      for (let index = 0; index < 60; index += 1) await pair.call();
      t.equal(seen[2], 3, "the bad one was asked three times");
      const [cluster] = await clusters(pair);
      t.match(cluster?.ejections, [{ reason: "consecutive-5xx" }]);
      t.equal(
        await pair.metric(
          pair.caller,
          "wherry_ejections_total",
          "orders-3",
          "consecutive-5xx",
        ),
        1,
      );
    },
  );
});

void t.test(
  "a refusal by policy is never held against the endpoint",
  async (t) => {
    await withPair(
      {
        instances: 2,
        resources: [
          resource("AuthorizationPolicy", "nobody", {
            selector: { matchLabels: { app: "orders" } },
          }),
          trafficPolicy({
            outlierDetection: { consecutive5xxErrors: 1 },
            circuitBreaker: { volumeThreshold: 1, errorThresholdPercent: 1 },
          }),
        ],
      },
      async (pair) => {
        for (let index = 0; index < 20; index += 1)
          t.equal((await pair.call()).status, 403);
        const [cluster] = await clusters(pair);
        t.equal(cluster?.breaker.state, "closed");
        t.same(cluster?.ejections, []);
      },
    );
  },
);

/** Responds to a call of gRPC with the HTTP status that its path names, and says nothing of gRPC. */
function foreignServer(body: string): (socket: Socket) => void {
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => {
      response.statusCode = Number(request.url.slice("/shop.Orders/".length));
      if (body === "") response.end();
      else response.end(body);
    });
  });
  return (socket) => server.emit("connection", socket);
}

for (const { status, fails } of [
  { status: 401, fails: false },
  { status: 403, fails: false },
  { status: 404, fails: false },
  { status: 502, fails: true },
  // To gRPC's clients it is UNKNOWN.
  { status: 200, fails: true },
])
  for (const body of ["", "who are you?"])
    void t.test(
      `a gRPC call that gets ${status} without a status of gRPC, ${body === "" ? "no" : "a"} body`,
      async (t) => {
        await withPair(
          {
            instances: 2,
            appProtocol: "grpc",
            rawApp: () => foreignServer(body),
            resources: [
              trafficPolicy({
                loadBalancer: { simple: "ROUND_ROBIN" },
                outlierDetection: { consecutive5xxErrors: 3 },
                circuitBreaker: { volumeThreshold: 10 },
              }),
            ],
          },
          async (pair) => {
            const session = connect(
              `http://127.0.0.1:${pair.caller.ports.outbound ?? 0}`,
            );
            t.teardown(() => session.destroy());
            for (let index = 0; index < 12; index += 1) {
              const stream = session.request({
                ":method": "POST",
                ":path": `/shop.Orders/${status}`,
                ":authority": "orders.shop:80",
                "content-type": "application/grpc",
                te: "trailers",
              });
              stream.end(Buffer.alloc(5));
              stream.resume();
              await once(stream, "close");
            }
            const [cluster] = await clusters(pair);
            t.equal(cluster?.ejections.length, fails ? 1 : 0);
            t.equal(cluster?.breaker.state, fails ? "open" : "closed");
          },
        );
      },
    );

void t.test(
  "connectionPool: so many under way, so many waiting, OVERFLOW for the rest",
  async (t) => {
    const held: (() => void)[] = [];
    await withPair(
      {
        app: () => (_request, response) => {
          held.push(() => response.end());
        },
        resources: [
          trafficPolicy({
            connectionPool: {
              tcp: { maxConnections: 2 },
              http: { http1MaxPendingRequests: 1 },
            },
          }),
        ],
      },
      async (pair) => {
        const running = [pair.call(), pair.call()];
        await until(() => held.length === 2);
        const waiting = pair.call();
        let pending = 0;
        while (pending === 0) pending = (await clusters(pair))[0]?.pending ?? 0;
        const refused = await pair.call();
        t.equal(refused.status, 503);
        t.equal(refused.reason, "OVERFLOW");
        held[0]?.();
        held[1]?.();
        for (const answer of await Promise.all(running))
          t.equal(answer.status, 200);
        await until(() => held.length === 3);
        held[2]?.();
        t.equal((await waiting).status, 200, "the waiting one had its turn");
        t.match((await clusters(pair))[0], { active: 0, pending: 0 });
      },
    );
  },
);

void t.test("no endpoint at all is a 503 at once", async (t) => {
  await withPair({}, async (pair) => {
    pair.apply([
      resource("Service", "empty", {
        ports: [{ port: 80 }],
        selector: { app: "nobody" },
      }),
    ]);
    const answer = await pair.call({ host: "empty.shop" });
    t.equal(answer.status, 503);
    t.equal(answer.reason, "NO_ENDPOINT");
  });
});

void t.test("a route's answers without a backend: 404 and 500", async (t) => {
  const parentRefs = [
    { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
  ];
  await withPair(
    {
      resources: [
        resource("HTTPRoute", "orders", {
          parentRefs,
          rules: [
            {
              matches: [{ path: { type: "PathPrefix", value: "/known" } }],
              backendRefs: [{ name: "orders", port: 80 }],
            },
            {
              matches: [{ path: { type: "PathPrefix", value: "/broken" } }],
              backendRefs: [{ name: "nowhere", port: 80 }],
            },
          ],
        }),
      ],
    },
    async (pair) => {
      t.equal((await pair.call({ path: "/known" })).status, 200);
      const missing = await pair.call({ path: "/other" });
      t.match(missing, { status: 404, reason: /^NO_ROUTE/ });
      const broken = await pair.call({ path: "/broken" });
      t.match(broken, { status: 500, reason: /^BACKEND_INVALID/ });
    },
  );
});

void t.test("header filters act on both heads", async (t) => {
  await withPair(
    {
      app: () => (request, response) => {
        response.setHeader("x-gone", "1");
        response.end(JSON.stringify(request.headers));
      },
      resources: [
        resource("HTTPRoute", "orders", {
          parentRefs: [
            { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
          ],
          rules: [
            {
              backendRefs: [{ name: "orders", port: 80 }],
              filters: [
                {
                  type: "RequestHeaderModifier",
                  requestHeaderModifier: {
                    set: [{ name: "x-canary", value: "1" }],
                    remove: ["x-secret"],
                  },
                },
                {
                  type: "ResponseHeaderModifier",
                  responseHeaderModifier: {
                    add: [{ name: "x-seen", value: "yes" }],
                    remove: ["x-gone"],
                  },
                },
              ],
            },
          ],
        }),
      ],
    },
    async (pair) => {
      const answer = await pair.call({ headers: { "x-secret": "s" } });
      const headers = JSON.parse(answer.text) as Record<string, string>;
      t.match(headers, { "x-canary": "1" });
      t.notOk(headers["x-secret"]);
      t.equal(answer.headers["x-seen"], "yes");
      t.notOk(answer.headers["x-gone"]);
    },
  );
});

void t.test(
  "a request ends with the snapshot that it started with",
  async (t) => {
    let reached: (() => void) | undefined;
    const arrived = new Promise<void>((resolve) => (reached = resolve));
    let answer: (() => void) | undefined;
    await withPair(
      {
        app: () => (_request, response) => {
          answer = () => response.end("from before");
          reached?.();
        },
      },
      async (pair) => {
        const call = pair.call();
        await arrived;
        pair.apply([
          resource("AuthorizationPolicy", "nobody", {
            selector: { matchLabels: { app: "orders" } },
          }),
        ]);
        answer?.();
        t.match(await call, { status: 200, text: "from before" });
        t.equal(
          (await pair.call()).status,
          403,
          "the next one has the new one",
        );
      },
    );
  },
);
