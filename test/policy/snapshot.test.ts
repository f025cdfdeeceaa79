import t from "tap";
import { type Snapshot } from "../../src/policy/snapshot.ts";
import {
  compileSnapshot,
  CompileError,
} from "../../src/policy/compile/compile.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import { growthOf } from "../support/clocks/growth.ts";
import {
  born,
  authorizationPolicy,
  httpRoute,
  mesh,
  peerAuthentication,
  request,
  self,
  service,
  trafficPolicy,
  VERSION,
  workload,
  CONNECTION,
} from "../support/resources/policy-fixtures.ts";

function compile(
  resources: readonly Resource[],
  over: Parameters<typeof self>[0] = {},
  previous?: Snapshot,
): Snapshot {
  return compileSnapshot(resources, self(over), VERSION, { previous });
}

/** The problems for which a set is refused. */
function refusal(resources: readonly unknown[]): readonly string[] {
  try {
    // What a push brings is outside data: it may be anything.
    compile(resources as Resource[]);
  } catch (error) {
    if (error instanceof CompileError) return error.problems;
    throw error;
  }
  return [];
}

void t.test("with nothing at all the defaults are in force", (t) => {
  const snapshot = compile([]);
  t.strictSame(snapshot.destinations, []);
  t.equal(snapshot.destination("orders", 80), undefined);
  t.equal(snapshot.mesh.mtls.mode, "STRICT");
  t.strictSame(snapshot.version, VERSION);
  t.strictSame(snapshot.warnings, []);
  t.end();
});

void t.test("the Mesh's settings are in force", (t) => {
  const snapshot = compile([
    mesh({ trustDomain: "example.org", mtls: { mode: "PERMISSIVE" } }),
    service("shop/orders"),
    workload("shop/orders-1", "orders"),
  ]);
  t.equal(snapshot.mesh.trustDomain, "example.org");
  const destination = snapshot.destination("orders.shop.svc.example.org", 80);
  t.equal(
    destination?.cluster.endpoints[0]?.identity,
    "spiffe://example.org/ns/shop/sa/orders",
  );
  t.end();
});

void t.test("a set is refused as a whole, with every problem named", (t) => {
  t.match(refusal([{ ...service("shop/a"), kind: "Servise" }]), [/Servise/]);
  t.match(
    refusal([
      service("shop/a"),
      { ...service("shop/b"), spec: { ports: [], color: "red" } },
    ]),
    [/^Service shop\/b: spec/],
  );
  t.match(refusal([service("shop/a"), service("shop/a")]), [/twice/]);
  t.match(
    refusal([
      service("shop/a"),
      httpRoute("shop/r", {
        parentRefs: [{ kind: "Service", name: "a" }],
        rules: [
          {
            matches: [{ path: { type: "RegularExpression", value: "/(" } }],
            backendRefs: [{ name: "a", port: 80 }],
          },
        ],
      }),
    ]),
    [/HTTPRoute shop\/r/],
  );
  t.equal(
    new CompileError(["a", "b", "c", "d", "e", "f", "g"]).message,
    "the configuration cannot be used: a; b; c; d; e; and 2 more",
  );
  t.end();
});

void t.test("nothing that the caller may still change is kept", (t) => {
  const spec = {
    parentRefs: [{ kind: "Service" as const, name: "orders" }],
    rules: [
      {
        matches: [{ path: { type: "Exact" as const, value: "/a" } }],
        backendRefs: [{ name: "orders", port: 80, weight: 1 }],
      },
    ],
  };
  const labels = { app: "orders" };
  const port = { name: "http", port: 80, targetPort: 8080 };
  const me = self({ labels: { app: "web" } });
  const snapshot = compileSnapshot(
    [
      service("shop/orders", { ports: [port] }),
      workload("shop/orders-1", "orders", {}, { labels }),
      httpRoute("shop/r", spec),
    ],
    me,
    VERSION,
  );
  spec.rules.length = 0;
  spec.parentRefs.length = 0;
  labels.app = "other";
  port.port = 81;
  Object.assign(me.labels, { app: "other" });
  const destination = snapshot.destination("orders", 80);
  t.equal(destination?.route(request("/a"), 0).kind, "forward");
  t.equal(destination?.cluster.endpoints.length, 1);
  t.equal(destination?.port.port, 80);
  t.equal(snapshot.self.labels["app"], "web");
  t.end();
});

void t.test("law 1: a snapshot is not touched by the next", (t) => {
  const before = compile([
    service("shop/orders"),
    workload("shop/o-1", "orders"),
  ]);
  const old = before.destination("orders", 80)?.cluster;
  compile(
    [
      service("shop/orders"),
      workload("shop/o-1", "orders", { address: "10.0.0.9" }),
      workload("shop/o-2", "orders"),
    ],
    {},
    before,
  );
  t.equal(before.destination("orders", 80)?.cluster, old);
  t.equal(old?.endpoints.length, 1);
  t.equal(old?.endpoints[0]?.address, "10.0.0.1");
  t.end();
});

void t.test(
  "clusters and endpoints that did not change are the same objects in the next snapshot",
  (t) => {
    const resources = [
      service("shop/orders"),
      service("shop/catalog"),
      workload("shop/o-1", "orders"),
      workload("shop/o-2", "orders", { address: "10.0.0.2" }),
      workload("shop/c-1", "catalog"),
    ];
    const first = compile(resources);
    const same = compile(resources, {}, first);
    t.strictSame(
      same.clusters.map((cluster, index) => cluster === first.clusters[index]),
      [true, true],
    );
    const changed = compile(
      [
        ...resources.slice(0, 3),
        workload("shop/o-2", "orders", { address: "10.0.0.2", ready: false }),
        resources[4] ?? service("x/x"),
        trafficPolicy("shop/p", {
          targetRefs: [{ kind: "Service", name: "catalog" }],
          loadBalancer: { simple: "RANDOM" },
        }),
      ],
      {},
      same,
    );
    const cluster = (snapshot: Snapshot, name: string): unknown =>
      snapshot.destination(name, 80)?.cluster;
    t.not(cluster(changed, "orders"), cluster(same, "orders"));
    t.not(cluster(changed, "catalog"), cluster(same, "catalog"));
    const endpoints = (snapshot: Snapshot): readonly unknown[] =>
      snapshot.destination("orders", 80)?.cluster.endpoints ?? [];
    t.equal(endpoints(changed)[0], endpoints(same)[0]);
    t.not(endpoints(changed)[1], endpoints(same)[1]);
    t.end();
  },
);

void t.test(
  "inbound: ports, policies and mTLS of the proxy's own workload",
  (t) => {
    const snapshot = compile(
      [
        service("shop/orders", {
          ports: [
            { name: "http", port: 80, targetPort: 8080 },
            { name: "grpc", port: 81, appProtocol: "grpc" },
            { name: "gone", port: 82 },
          ],
        }),
        service("shop/all", { selector: { tier: "back" } }),
        service("infra/orders"),
        service("shop/other"),
        workload(
          "shop/orders-1",
          "orders",
          { ports: { http: 3000, grpc: 3001, debug: 9000 } },
          { labels: { app: "orders", tier: "back" } },
        ),
        peerAuthentication("shop/debug", {
          selector: { matchLabels: { app: "orders" } },
          portLevelMtls: { "9000": { mode: "PERMISSIVE" } },
        }),
        peerAuthentication(
          "shop/ns-old",
          { mtls: { mode: "STRICT" } },
          born(1),
        ),
        peerAuthentication(
          "shop/ns-new",
          { mtls: { mode: "DISABLE" } },
          born(2),
        ),
        authorizationPolicy("shop/no-admin", {
          action: "DENY",
          rules: [{ to: [{ operation: { paths: ["/admin*"] } }] }],
        }),
      ],
      { name: "orders-1", labels: { app: "orders", tier: "back" } },
    );
    const { inbound } = snapshot;
    t.strictSame(
      inbound.ports.map((port) => [
        port.key,
        port.service,
        port.servicePort,
        port.targetPort,
        port.appProtocol,
        port.mtls.mode,
      ]),
      [
        ["all.shop:80", "all.shop", 80, 3000, "http", "STRICT"],
        ["orders.shop:80", "orders.shop", 80, 3000, "http", "STRICT"],
        ["orders.shop:81", "orders.shop", 81, 3001, "grpc", "STRICT"],
        ["", "", 9000, 9000, "http", "PERMISSIVE"],
      ],
    );
    t.equal(inbound.resolve("orders.shop:80")?.targetPort, 3000);
    for (const destination of [
      "orders.shop:82",
      "orders.shop:15008",
      "orders.infra:80",
      "other.shop:80",
      "orders.shop",
      "",
      "__proto__",
    ])
      t.equal(inbound.resolve(destination), undefined, destination);
    t.equal(inbound.byPort(3000)?.key, "all.shop:80");
    t.equal(inbound.byPort(9000)?.mtls.policy, "shop/debug");
    t.equal(inbound.byPort(15008), undefined);
    const verdict = inbound.resolve("orders.shop:80")?.authorize({
      peer: undefined,
      port: 3000,
      connection: CONNECTION,
      request: request("/admin/x"),
    });
    t.match(verdict, { kind: "deny", code: "DENIED", policy: "shop/no-admin" });
    t.match(snapshot.warnings, [
      /PeerAuthentication shop\/ns-new .* shop\/ns-old is older/,
      /Service shop\/orders: .* no port for its port 82/,
    ]);
    t.end();
  },
);

void t.test(
  "inbound: ports that the sidecar was started with count before its registration",
  (t) => {
    const resources = [service("shop/web")];
    const ports = (over: Parameters<typeof self>[0]): readonly number[] =>
      compile(resources, over).inbound.ports.map((port) => port.targetPort);
    t.strictSame(ports({ ports: { http: 5000 } }), [5000]);
    t.strictSame(ports({ ports: {} }), []);
    t.strictSame(ports({}), [8080], "not registered: what the Service says");
    t.strictSame(
      compile([
        ...resources,
        workload("shop/web-1", "web", { ports: { http: 6000 } }),
      ]).inbound.ports.map((port) => port.targetPort),
      [6000],
    );
    t.end();
  },
);

void t.test(
  "trap 16: labels of the certificate select, not those of a registration",
  (t) => {
    const snapshot = compile(
      [service("shop/orders"), workload("shop/web-1", "orders")],
      { labels: { app: "web" } },
    );
    t.equal(snapshot.inbound.resolve("orders.shop:80"), undefined);
    t.end();
  },
);

/** A Service and as many routes of its own. */
function withRoutes(count: number): Resource[] {
  const resources: Resource[] = [service("shop/orders")];
  for (let index = 0; index < count; index += 1)
    resources.push(
      httpRoute(`shop/r${index}`, {
        parentRefs: [{ kind: "Service", name: "orders", port: 80 }],
        rules: [
          {
            matches: [{ path: { type: "PathPrefix", value: `/api/${index}` } }],
            backendRefs: [{ name: "orders", port: 80 }],
          },
        ],
      }),
    );
  return resources;
}

void t.test("1,000 routes of a Service compile, and each is found", (t) => {
  const snapshot = compile(withRoutes(1000));
  for (const index of [0, 731, 999]) {
    const decision = snapshot
      .destination("orders", 80)
      ?.route(request(`/api/${index}/x`), 0);
    t.equal(decision?.rule?.route, `shop/r${index}`);
  }
  t.end();
});

void t.test("twice the routes take about twice the work to compile", (t) => {
  const { linear, ratio } = growthOf((count) => {
    const resources = withRoutes(count);
    return () => {
      compile(resources);
    };
  }, 500);
  t.ok(linear, `${ratio.toFixed(2)} times as long`);
  t.end();
});
