/** Which limits a request falls under, whose bucket it takes from, and that a refusal costs no other limit anything. */
import t from "tap";
import {
  rateTable,
  rateTableMemory,
} from "../../src/core/shared/rate-table.ts";
import { takeFrom } from "../../src/policy/rate-limit.ts";
import { type InboundPort, type Snapshot } from "../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../src/policy/compile/compile.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import type {
  RateLimitSpec,
  RouteRateSpec,
} from "../../src/resources/traffic-policy/overload.ts";
import {
  born,
  mesh,
  request,
  self,
  service,
  trafficPolicy,
  VERSION,
} from "../support/resources/policy-fixtures.ts";

const WEB = "spiffe://cluster.local/ns/shop/sa/web";
const JOBS = "spiffe://cluster.local/ns/shop/sa/jobs";

function orders(...policies: readonly Resource[]): Snapshot {
  return compileSnapshot(
    [
      mesh(),
      service("shop/orders", {
        ports: [
          { name: "http", port: 80, targetPort: 8080 },
          { name: "admin", port: 81, targetPort: 8081 },
        ],
      }),
      ...policies,
    ],
    self({ name: "orders-1", labels: { app: "orders" } }),
    VERSION,
  );
}

function limited(rateLimit: RateLimitSpec): Snapshot {
  return orders(
    trafficPolicy("shop/orders", {
      targetRefs: [{ kind: "Service", name: "orders" }],
      rateLimit,
    }),
  );
}

interface Call {
  readonly port?: number;
  readonly peer?: string;
  readonly target?: string;
  readonly method?: string;
  readonly headers?: Record<string, string | readonly string[]>;
  readonly tunnel?: boolean;
}

/** What became of each call, all at one moment: "pass", or the limit that refused. */
function play(snapshot: Snapshot, calls: readonly Call[]): string[] {
  const table = rateTable(rateTableMemory(new Uint8Array(8)));
  return calls.map((call) => {
    const port = snapshot.inbound.resolve(
      `orders.shop:${call.port ?? 80}`,
    ) as InboundPort;
    const over = takeFrom(
      port.protection.limits ?? [],
      call.peer,
      call.tunnel === true
        ? undefined
        : request(call.target ?? "/", {
            ...(call.method === undefined ? {} : { method: call.method }),
            ...(call.headers === undefined ? {} : { headers: call.headers }),
          }),
      table,
      0,
    );
    return over === undefined ? "pass" : over.limit.name;
  });
}

const OVER = "rateLimit";

void t.test("without a policy there is no limit to ask", (t) => {
  t.equal(
    orders().inbound.resolve("orders.shop:80")?.protection.limits,
    undefined,
  );
  t.end();
});

void t.test("whose bucket a request takes from", (t) => {
  const two = { requests: 2, interval: "1s" };
  for (const [states, key, calls, expected] of [
    [
      "none: everyone's",
      undefined,
      [{ peer: WEB }, { peer: JOBS }, { peer: WEB }],
      ["pass", "pass", OVER],
    ],
    [
      "source.principal: each caller's",
      "source.principal",
      [{ peer: WEB }, { peer: WEB }, { peer: WEB }, { peer: JOBS }],
      ["pass", "pass", OVER, "pass"],
    ],
    [
      "source.principal: callers without identity share one, whatever they say in a header (trap 4)",
      "source.principal",
      [{}, { headers: { "x-forwarded-client-cert": WEB } }, {}, { peer: WEB }],
      ["pass", "pass", OVER, "pass"],
    ],
    [
      "request.headers[X]: each value's; the name in any case",
      "request.headers[X-Tenant]",
      [
        { headers: { "x-tenant": "a" } },
        { headers: { "x-tenant": "a" } },
        { headers: { "x-tenant": "a" } },
        { headers: { "x-tenant": "b" } },
      ],
      ["pass", "pass", OVER, "pass"],
    ],
    [
      "request.headers[X]: requests without it share one, so leaving it out is no way around",
      "request.headers[x-tenant]",
      [{}, {}, {}, { headers: { "x-tenant": "b" } }],
      ["pass", "pass", OVER, "pass"],
    ],
    [
      "a tunnel counts as one request",
      "source.principal",
      [
        { peer: WEB, tunnel: true },
        { peer: WEB, tunnel: true },
        { peer: WEB, tunnel: true },
      ],
      ["pass", "pass", OVER],
    ],
    [
      "the ports of a Service share its limit",
      undefined,
      [{ port: 80 }, { port: 81 }, { port: 80 }],
      ["pass", "pass", OVER],
    ],
  ] as const)
    t.strictSame(
      play(
        limited(key === undefined ? two : { ...two, key }),
        calls as readonly Call[],
      ),
      expected,
      states,
    );
  t.end();
});

void t.test("a limit named as another's place has a bucket of its own", (t) => {
  const at = (path: string): Pick<RouteRateSpec, "matches"> => ({
    matches: [{ path: { type: "Exact", value: path } }],
  });
  const rateLimit: RateLimitSpec = {
    routes: [
      { ...at("/a"), requests: 100, interval: "1s" },
      { ...at("/b"), requests: 1, interval: "1m", name: "0" },
    ],
  };
  const a: Call = { target: "/a" };
  const b: Call = { target: "/b" };
  t.strictSame(play(limited(rateLimit), [b, a, b, a]), [
    "pass",
    "pass",
    "rateLimit.routes 0",
    "pass",
  ]);
  t.end();
});

void t.test("a limit counts whichever of several parameters it means", (t) => {
  const rateLimit: RateLimitSpec = {
    routes: [
      {
        matches: [{ queryParams: [{ name: "batch", value: "1" }] }],
        requests: 1,
        interval: "1m",
        name: "batch",
      },
    ],
  };
  const to = (query: string): Call => ({ target: `/?${query}` });
  t.strictSame(
    play(limited(rateLimit), [
      to("batch=1"),
      to("batch=0&batch=1"),
      to("batch=%31&batch=0"),
      to("batch=0"),
      {},
    ]),
    [
      "pass",
      "rateLimit.routes batch",
      "rateLimit.routes batch",
      "pass",
      "pass",
    ],
  );
  t.end();
});

void t.test("a key of several lines is one bucket, whatever they say", (t) => {
  const rateLimit: RateLimitSpec = {
    requests: 1,
    interval: "1m",
    key: "request.headers[X-Api-Key]",
  };
  const by = (...keys: readonly string[]): Call => ({
    headers: { "x-api-key": keys },
  });
  t.strictSame(
    play(limited(rateLimit), [by("a", "1"), by("a", "2"), by("3", "a"), {}]),
    ["pass", OVER, OVER, OVER],
  );
  t.end();
});

void t.test("limits of routes", (t) => {
  const rateLimit: RateLimitSpec = {
    requests: 4,
    interval: "1s",
    routes: [
      {
        name: "export",
        matches: [
          { path: { type: "PathPrefix", value: "/export" }, method: "POST" },
        ],
        requests: 1,
        interval: "1m",
      },
      {
        matches: [{ headers: [{ name: "x-batch", value: "1" }] }],
        requests: 2,
        interval: "1s",
        key: "source.principal",
      },
    ],
  };
  const post: Call = { target: "/export/all", method: "POST" };
  t.strictSame(
    play(limited(rateLimit), [
      post,
      post,
      post,
      { target: "/export/all" },
      { target: "/exports", method: "POST" },
      {},
      {},
    ]),
    [
      "pass",
      "rateLimit.routes export",
      "rateLimit.routes export",
      "pass",
      "pass",
      "pass",
      OVER,
    ],
    "what one limit refuses costs the others nothing",
  );
  const batch: Call = { peer: WEB, headers: { "x-batch": "1" } };
  t.strictSame(
    play(limited(rateLimit), [batch, batch, batch, { ...batch, peer: JOBS }]),
    ["pass", "pass", "rateLimit.routes[1]", "pass"],
  );
  t.strictSame(
    play(
      limited(rateLimit),
      [["1", ""], ["", "1"], "1,"].map((each) => ({
        ...batch,
        headers: { "x-batch": each },
      })),
    ),
    ["pass", "pass", "rateLimit.routes[1]"],
    "whichever line the application reads",
  );
  t.strictSame(
    play(limited(rateLimit), [{}, {}, {}, {}, batch, batch, batch]),
    ["pass", "pass", "pass", "pass", OVER, OVER, OVER],
    "all that match must have room",
  );
  t.strictSame(
    play(limited({ routes: rateLimit.routes ?? [] }), [
      { ...post, tunnel: true },
      { ...post, tunnel: true },
      {},
    ]),
    ["pass", "pass", "pass"],
    "a tunnel matches no route",
  );
  t.end();
});

void t.test(
  "traps 13 and 14: the oldest policy wins whole, that of a port replaces the block",
  (t) => {
    const policy = (
      name: string,
      requests: number,
      day: number,
      sectionName?: string,
    ): Resource =>
      trafficPolicy(
        `shop/${name}`,
        {
          targetRefs: [
            {
              kind: "Service",
              name: "orders",
              ...(sectionName === undefined ? {} : { sectionName }),
            },
          ],
          rateLimit: { requests, interval: "1s" },
        },
        born(day),
      );
    const snapshot = orders(
      policy("young", 1, 3),
      policy("old", 2, 1),
      policy("admin", 1, 2, "admin"),
    );
    t.strictSame(play(snapshot, [{}, {}, {}, { port: 81 }, { port: 81 }]), [
      "pass",
      "pass",
      OVER,
      "pass",
      OVER,
    ]);
    t.equal(
      snapshot.inbound.resolve("orders.shop:81")?.protection.limits?.[0]
        ?.policy,
      "shop/admin",
    );
    t.end();
  },
);

void t.test(
  "a policy of another namespace's Service of the same name acts on none of ours",
  (t) => {
    const snapshot = orders(
      trafficPolicy("other/orders", {
        targetRefs: [{ kind: "Service", name: "orders" }],
        rateLimit: { requests: 1, interval: "1s" },
      }),
    );
    t.strictSame(play(snapshot, [{}, {}]), ["pass", "pass"]);
    t.end();
  },
);
