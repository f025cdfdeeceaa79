/** Traps of routes and retries, seen from outside: a caller, two sidecars, an application. What is pure has its tests in test/policy. */
import { createServer, type RequestListener } from "node:http";
import t from "tap";
import { nextSidecar } from "../support/peers/next-sidecar.ts";
import { listening, resource, withPair } from "../support/meshes/pair.ts";

type Made = ReturnType<typeof resource>;

function route(spec: Record<string, unknown>): Made {
  return resource("HTTPRoute", "orders", {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
    rules: [{ backendRefs: [{ name: "orders", port: 80 }], ...spec }],
  });
}

/** Every status is asked for, and nothing is waited for. */
const retry = { codes: [500, 502, 503, 504], attempts: 2, backoff: "1ms" };

/** Nothing but the route and chance decide: no breaker, no ejection, no memory of who failed. */
const patient = resource("TrafficPolicy", "orders", {
  targetRefs: [{ kind: "Service", name: "orders" }],
  loadBalancer: { simple: "RANDOM" },
  circuitBreaker: { volumeThreshold: 1_000_000 },
  outlierDetection: {
    consecutive5xxErrors: 0,
    consecutiveLocalOriginFailures: 0,
    successRate: { thresholdPercent: 0 },
  },
  retryConstraint: { budget: { percent: 100, interval: "10s" } },
});

function service(name: string): Made {
  return resource("Service", name, {
    ports: [{ name: "http", port: 80, appProtocol: "http" }],
    selector: { app: name },
  });
}

function workload(name: string, port: number, link?: number): Made {
  return resource(
    "Workload",
    `${name}-1`,
    {
      address: "127.0.0.1",
      ports: { http: port },
      serviceAccount: name,
      ...(link === undefined ? {} : { link: { port: link } }),
    },
    { labels: { app: name } },
  );
}

void t.test(
  "trap 5: a match by host takes no notice of the port and of case",
  async (t) => {
    const matches = [{ headers: [{ name: "host", value: "orders.shop" }] }];
    await withPair({ resources: [route({ matches })] }, async (pair) => {
      for (const [host, status] of [
        ["orders.shop", 200],
        ["orders.shop:80", 200],
        ["Orders.SHOP:80", 200],
        ["orders.shop.svc", 404],
      ] as const)
        t.equal((await pair.call({ host })).status, status, host);
    });
  },
);

const NOBODY = { name: "nobody", port: 80 };
const ANSWERS: readonly (readonly [
  what: string,
  rule: Record<string, unknown>,
  status: number,
  reason: string | undefined,
])[] = [
  [
    "no rule matches",
    { matches: [{ path: { type: "Exact", value: "/else" } }] },
    404,
    "NO_ROUTE",
  ],
  ["no backend", { backendRefs: [] }, 500, "BACKEND_INVALID"],
  [
    "weight 0 of all",
    { backendRefs: [{ name: "orders", port: 80, weight: 0 }] },
    500,
    "BACKEND_INVALID",
  ],
  ["a backend that is not", { backendRefs: [NOBODY] }, 500, "BACKEND_INVALID"],
  [
    "no ready endpoint",
    { backendRefs: [{ name: "empty", port: 80 }] },
    503,
    "NO_ENDPOINT",
  ],
  [
    "no backend, but a filter that answers",
    {
      backendRefs: undefined,
      filters: [
        {
          type: "RequestRedirect",
          requestRedirect: { statusCode: 302, hostname: "a.example" },
        },
      ],
    },
    302,
    undefined,
  ],
];
for (const [what, rule, status, reason] of ANSWERS)
  void t.test(`trap 10: ${what}: ${status}`, async (t) => {
    await withPair(
      { resources: [service("empty"), route(rule)] },
      async (pair) => {
        const answer = await pair.call();
        t.equal(answer.status, status);
        t.equal(answer.reason?.split(";")[0], reason);
      },
    );
  });

void t.test(
  "trap 10: a backend that is not there gets its share of the requests as 500",
  async (t) => {
    const backendRefs = [{ name: "orders", port: 80 }, NOBODY];
    await withPair({ resources: [route({ backendRefs })] }, async (pair) => {
      const seen = new Set<number>();
      for (let index = 0; index < 40; index += 1)
        seen.add((await pair.call()).status);
      t.same([...seen].sort(), [200, 500]);
    });
  },
);

void t.test(
  "trap 12: a retry goes to another endpoint, and stays in the backend that the weights drew",
  async (t) => {
    const good = createServer((_request, response) => response.end("good"));
    t.teardown(() => good.close());
    const goodPort = await listening(good);
    const asked: number[] = [];
    await withPair(
      {
        instances: 3,
        app: (index) => (_request, response) => {
          asked.push(index);
          response.statusCode = 503;
          response.end();
        },
        resources: [
          service("good"),
          workload("good", goodPort),
          patient,
          route({
            backendRefs: [
              { name: "orders", port: 80, weight: 50 },
              { name: "good", port: 80, weight: 50 },
            ],
            retry,
          }),
        ],
      },
      async (pair) => {
        const seen = new Set<number>();
        for (let call = 0; call < 40; call += 1) {
          const { status } = await pair.call();
          seen.add(status);
          const { attempts } = pair.log.findLast(
            ({ direction }) => direction === "outbound",
          ) ?? { attempts: 0 };
          t.equal(attempts, status === 200 ? 1 : 3, `${status}`);
          t.equal(new Set(asked.splice(0)).size, status === 200 ? 0 : 3);
        }
        t.same([...seen].sort(), [200, 503], "each was drawn");
      },
    );
  },
);

void t.test("trap 12: the next sidecar is told which try it is", async (t) => {
  await withPair({ instances: 0 }, async (pair) => {
    const peer = await nextSidecar(pair, "x-wherry-attempt", 503);
    t.teardown(() => peer.close());
    pair.apply([workload("orders", 8080, peer.port), route({ retry })]);
    const headers = { "x-wherry-attempt": "9" };
    t.equal((await pair.call({ headers })).status, 503);
    t.same(
      peer.heard,
      [undefined, "2", "3"],
      "and no application's word is taken",
    );
  });
});

const DEATHS: readonly (readonly [string, RequestListener])[] = [
  [
    "a status",
    (_request, response) => {
      response.statusCode = 503;
      response.end();
    },
  ],
  ["a reset", ({ socket }) => socket.resetAndDestroy()],
];
for (const [what, answer] of DEATHS)
  void t.test(
    `trap 12: tries are counted at one hop only: the callee's sidecar does not repeat ${what}`,
    async (t) => {
      let count = 0;
      await withPair(
        {
          app: () => (request, response) => {
            count += 1;
            t.equal(request.headers["x-wherry-attempt"], undefined);
            answer(request, response);
          },
          resources: [patient, route({ retry })],
        },
        async (pair) => {
          t.equal((await pair.call()).status, 503);
          t.equal(count, 3, "the caller's tries, and no more");
        },
      );
    },
  );

void t.test(
  "trap 12: nothing is repeated once the head of an answer is passed on",
  async (t) => {
    let count = 0;
    await withPair(
      {
        instances: 2,
        app: () => (_request, response) => {
          count += 1;
          response.writeHead(200, { "content-length": "10" });
          response.write("half", () => response.socket?.resetAndDestroy());
        },
        resources: [patient, route({ retry })],
      },
      async (pair) => {
        await t.rejects(pair.call(), "the answer breaks off");
        t.equal(count, 1);
      },
    );
  },
);

void t.test("trap 12: no retry on an open breaker's own 503", async (t) => {
  let count = 0;
  await withPair(
    {
      app: () => (_request, response) => {
        count += 1;
        response.statusCode = 500;
        response.end();
      },
      resources: [
        route({ retry: { ...retry, codes: [503] } }),
        resource("TrafficPolicy", "orders", {
          targetRefs: [{ kind: "Service", name: "orders" }],
          circuitBreaker: { volumeThreshold: 2, errorThresholdPercent: 50 },
        }),
      ],
    },
    async (pair) => {
      for (let call = 0; call < 3; call += 1) await pair.call();
      const before = count;
      const answer = await pair.call();
      t.match(answer, { status: 503, reason: "BREAKER_OPEN" });
      t.equal(count, before);
      t.match(pair.log.at(-1), { reason: "BREAKER_OPEN", attempts: 0 });
      t.equal(await pair.metric(pair.caller, "wherry_retries_total"), 0);
    },
  );
});

void t.test(
  "trap 19: a call that is made to wait on purpose is not repeated when it fails, though its route asks",
  async (t) => {
    let count = 0;
    const fault = resource("FaultInjection", "slow", {
      targetRefs: [{ kind: "Service", name: "orders" }],
      matches: [{ headers: [{ name: "x-chaos", value: "1" }] }],
      expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
      delay: { fixedDelay: "1ms", percentage: 100 },
    });
    await withPair(
      {
        app: () => (_request, response) => {
          count += 1;
          response.statusCode = 503;
          response.end();
        },
        resources: [patient, route({ retry }), fault],
      },
      async (pair) => {
        await pair.call();
        t.equal(count, 3, "without the fault");
        await pair.call({ headers: { "x-chaos": "1" } });
        t.equal(count, 4, "and with it");
      },
    );
  },
);
