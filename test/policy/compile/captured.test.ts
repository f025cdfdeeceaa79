/** Captured requests: the name that they say chooses among the Services that lead to the place that was dialled, and never leads past its identity (law 13). */
import t from "tap";
import type { Destination, Snapshot } from "../../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { ServiceSpec } from "../../../src/resources/service/schema.ts";
import {
  born,
  httpRoute,
  request,
  self,
  service,
  trafficPolicy,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

const compile = (
  resources: readonly Resource[],
  previous?: Snapshot,
): Snapshot => compileSnapshot(resources, self(), VERSION, { previous });

/** Where a captured request goes: "KEY → ADDRESSES". */
function goes(
  snapshot: Snapshot,
  address: string,
  host: string | undefined,
  port?: number,
): string | undefined {
  return told(
    snapshot.destinationOfCaptured(
      address,
      8080,
      host === undefined ? undefined : { host, port },
    ),
  );
}

function told(found: Destination | undefined): string | undefined {
  const addresses = found?.cluster.endpoints.map(({ address }) => address);
  return found && `${found.key} → ${addresses?.join(" ") ?? ""}`;
}

const labelled = (
  name: string,
  address: string,
  version: string,
  account = "reviews",
): Resource =>
  workload(
    name,
    "reviews",
    { address, serviceAccount: account },
    { labels: { app: "reviews", version } },
  );

const version = (name: string): Partial<ServiceSpec> => ({
  selector: { app: "reviews", version: name },
});

const VERSIONS: readonly Resource[] = [
  service("shop/reviews", { selector: { app: "reviews" } }, born(1)),
  service("shop/reviews-v1", version("v1"), born(2)),
  service("shop/reviews-v2", version("v2"), born(3)),
  labelled("shop/reviews-1", "10.0.0.1", "v1"),
  labelled("shop/reviews-2", "10.0.0.2", "v2"),
  labelled("shop/reviews-3", "10.0.0.3", "v2"),
];

void t.test("the name chooses among the Services of the place", (t) => {
  const snapshot = compile([
    ...VERSIONS,
    service("shop/orders", {}, born(4)),
    workload("shop/orders-1", "orders", { address: "10.0.1.1" }),
  ]);
  const alone = "reviews.shop:80@shop/reviews-2:8080 → 10.0.0.2";
  for (const [host, expected] of [
    ["reviews", "reviews.shop:80 → 10.0.0.1 10.0.0.2 10.0.0.3"],
    ["reviews.shop", "reviews.shop:80 → 10.0.0.1 10.0.0.2 10.0.0.3"],
    ["reviews-v2", "reviews-v2.shop:80 → 10.0.0.2 10.0.0.3"],
    ["reviews-v2.shop.svc", "reviews-v2.shop:80 → 10.0.0.2 10.0.0.3"],
    [
      "reviews-v2.shop.svc.cluster.local",
      "reviews-v2.shop:80 → 10.0.0.2 10.0.0.3",
    ],
    // Not behind the address, no Service, or no name at all: the instance that was dialled.
    ["reviews-v1", alone],
    ["orders.shop", alone],
    ["10.0.0.2", alone],
    ["reviews.other", alone],
    ["example.org", alone],
    [undefined, alone],
  ] as const)
    t.equal(goes(snapshot, "10.0.0.2", host), expected, host ?? "no name");
  t.equal(
    snapshot.destinationOfCaptured("10.0.0.2", 8080, {
      host: "reviews-v2",
      port: 8080,
    }),
    snapshot.destination("reviews-v2", 80),
    "as by name, whichever port it says",
  );
  t.equal(goes(snapshot, "10.9.9.9", "reviews"), undefined, "not of the mesh");
  t.end();
});

void t.test("of two ports that lead to the place, the named one", (t) => {
  const snapshot = compile([
    service("shop/reviews", {
      ports: [
        { name: "http", port: 80, targetPort: 8080 },
        { name: "more", port: 81, targetPort: 8080 },
      ],
    }),
    workload("shop/reviews-1", "reviews"),
  ]);
  for (const [port, expected] of [
    [undefined, "reviews.shop:80 → 10.0.0.1"],
    [80, "reviews.shop:80 → 10.0.0.1"],
    [81, "reviews.shop:81 → 10.0.0.1"],
    [8080, "reviews.shop:80 → 10.0.0.1"],
  ] as const)
    t.equal(goes(snapshot, "10.0.0.1", "reviews", port), expected);
  t.end();
});

void t.test("an instance is called past routes, with the policies", (t) => {
  const resources = [
    ...VERSIONS,
    httpRoute("shop/reviews", {
      parentRefs: [
        { group: "mesh.wherry.dev", kind: "Service", name: "reviews" },
      ],
      rules: [{ backendRefs: [{ name: "reviews-v1", port: 80 }] }],
    }),
    trafficPolicy("shop/reviews", {
      targetRefs: [{ kind: "Service", name: "reviews" }],
      connectionPool: { http: { http2MaxRequests: 7 } },
    }),
  ];
  const snapshot = compile(resources);
  const forwarded = (found: Destination | undefined): string | undefined => {
    const decision = found?.route(request("/"), 0);
    return decision?.kind === "forward" ? decision.cluster.key : decision?.kind;
  };
  const named = { host: "reviews", port: undefined };
  t.equal(
    forwarded(snapshot.destinationOfCaptured("10.0.0.2", 8080, named)),
    "reviews-v1.shop:80",
  );
  const instance = snapshot.destinationOfCaptured("10.0.0.2", 8080, undefined);
  const key = "reviews.shop:80@shop/reviews-2:8080";
  t.equal(forwarded(instance), key);
  t.match(instance?.cluster, {
    destination: "reviews.shop:80",
    policy: "shop/reviews",
    settings: { connectionPool: { http: { http2MaxRequests: 7 } } },
  });
  t.equal(
    snapshot.destinationOfCaptured("10.0.0.2", 8080, undefined),
    instance,
    "made once",
  );
  t.equal(snapshot.cluster(key), instance?.cluster, "its state is kept by it");

  const more = compile(
    [...resources, labelled("shop/reviews-4", "10.0.0.4", "v1")],
    snapshot,
  );
  t.equal(more.cluster(key), instance?.cluster, "others come, it stays");
  const less = compile(
    resources.filter(({ metadata }) => metadata.name !== "reviews-2"),
    snapshot,
  );
  t.equal(less.cluster(key), undefined, "and goes with its Workload");
  t.end();
});

void t.test(
  "bytes keep to the endpoint, as the Service that TLS names",
  (t) => {
    const db = (name: string, age: number): Resource =>
      service(
        name,
        {
          ports: [{ name: "tls", port: 5432, appProtocol: "tls" }],
          selector: { app: "db" },
        },
        born(age),
      );
    const snapshot = compile([
      db("shop/db", 1),
      db("shop/db-replicas", 2),
      workload("shop/db-1", "db", { ports: { tls: 5432 } }),
      workload("shop/db-2", "db", {
        address: "10.0.0.2",
        ports: { tls: 5432 },
      }),
    ]);
    for (const [host, expected] of [
      [undefined, "db.shop:5432@shop/db-2:5432 → 10.0.0.2"],
      ["db", "db.shop:5432@shop/db-2:5432 → 10.0.0.2"],
      ["db-replicas.shop", "db-replicas.shop:5432@shop/db-2:5432 → 10.0.0.2"],
      ["elsewhere.shop", "db.shop:5432@shop/db-2:5432 → 10.0.0.2"],
    ] as const)
      t.equal(
        told(snapshot.destinationByAddress("10.0.0.2", 5432, host)),
        expected,
        host ?? "no name",
      );
    t.end();
  },
);

void t.test("no name leads to another identity than the place has", (t) => {
  const snapshot = compile([
    service("shop/reviews", {}, born(9)),
    workload(
      "shop/reviews-1",
      "reviews",
      {},
      {
        ...born(1),
        labels: { app: "reviews" },
      },
    ),
    // Claims the address of reviews-1.
    service("shop/thief", {}, born(1)),
    workload(
      "shop/thief-1",
      "thief",
      {},
      { ...born(10), labels: { app: "thief" } },
    ),
    workload("shop/thief-2", "thief", { address: "10.0.6.6" }),
    // So does an older external Service, with an address of its own.
    service(
      "bank/fixed",
      {
        location: "MESH_EXTERNAL",
        hosts: ["fixed.example"],
        resolution: "STATIC",
        endpoints: [{ address: "10.0.0.1" }, { address: "192.0.2.6" }],
        ports: [{ port: 8080 }],
      },
      born(1),
    ),
  ]);
  for (const host of ["thief", "thief.shop", "fixed.example", "fixed.bank"])
    t.equal(
      goes(snapshot, "10.0.0.1", host),
      "reviews.shop:80@shop/reviews-1:8080 → 10.0.0.1",
      host,
    );
  t.end();
});

void t.test("an address outside is its first namespace's", (t) => {
  const fixed = (name: string, age: number, more: string): Resource =>
    service(
      name,
      {
        location: "MESH_EXTERNAL",
        hosts: [`${name.replace("/", ".")}.example`],
        resolution: "STATIC",
        endpoints: [{ address: "192.0.2.1" }, { address: more }],
        ports: [{ port: 8080 }],
      },
      born(age),
    );
  const snapshot = compile([
    fixed("bank/first", 1, "192.0.2.2"),
    fixed("bank/second", 2, "192.0.2.3"),
    fixed("late/third", 3, "192.0.2.4"),
  ]);
  for (const [host, expected] of [
    ["bank.first.example", "first.bank:8080 → 192.0.2.1 192.0.2.2"],
    ["bank.second.example", "second.bank:8080 → 192.0.2.1 192.0.2.3"],
    ["late.third.example", "first.bank:8080@192.0.2.1:8080 → 192.0.2.1"],
    ["192.0.2.1", "first.bank:8080@192.0.2.1:8080 → 192.0.2.1"],
  ] as const)
    t.equal(goes(snapshot, "192.0.2.1", host), expected, host);
  t.end();
});

void t.test("an address is found whatever way it is written", (t) => {
  for (const [written, dialled] of [
    ["2001:DB8::7", "2001:db8::7"],
    ["2001:0db8:0:0::7", "2001:db8::7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
  ] as const) {
    const snapshot = compile([
      service("shop/orders"),
      workload("shop/orders-1", "orders", { address: written }),
    ]);
    const expected = `orders.shop:80 → ${written}`;
    t.equal(goes(snapshot, dialled, "orders"), expected, written);
    const outside = compile([
      service("shop/fixed", {
        location: "MESH_EXTERNAL",
        hosts: ["fixed.example"],
        resolution: "STATIC",
        endpoints: [{ address: written }],
        ports: [{ port: 8080, appProtocol: "tcp" }],
      }),
    ]);
    t.equal(
      told(outside.destinationByAddress(dialled, 8080)),
      `fixed.shop:8080@[${written}]:8080 → ${written}`,
      "and that of a place outside",
    );
  }
  t.end();
});
