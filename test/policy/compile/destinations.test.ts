import t from "tap";
import { type Snapshot } from "../../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  born,
  request,
  self,
  service,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

function compile(resources: readonly Resource[]): Snapshot {
  return compileSnapshot(resources, self(), VERSION);
}

const external = (
  name: string,
  hosts: readonly string[],
  spec: Parameters<typeof service>[1] = {},
  more = {},
): Resource =>
  service(
    name,
    {
      location: "MESH_EXTERNAL",
      hosts,
      ports: [
        { name: "http", port: 80 },
        { name: "tls", port: 443, appProtocol: "tls" },
      ],
      ...spec,
    },
    more,
  );

/** Host, port, the key that it leads to. */
const NAMES: readonly [string, number | undefined, string | undefined][] = [
  ["orders", 80, "orders.shop:80"],
  ["orders.shop", 80, "orders.shop:80"],
  ["orders.shop.svc", 80, "orders.shop:80"],
  ["orders.shop.svc.cluster.local", 80, "orders.shop:80"],
  ["ORDERS.Shop", 80, "orders.shop:80"],
  ["orders.shop.", 80, "orders.shop:80"],
  ["orders.shop", 81, "orders.shop:81"],
  ["orders.shop", undefined, "orders.shop:80"],
  ["orders.shop", 8080, undefined],
  ["orders.shop.svc.example.org", 80, undefined],
  ["rates.infra", undefined, "rates.infra:9000"],
  ["rates", 9000, undefined],
  ["hidden.infra", 80, undefined],
  ["shared.infra", 80, "shared.infra:80"],
  ["nobody", 80, undefined],
  ["api.stripe.com", 443, "stripe.infra:443"],
  ["API.stripe.com", undefined, "stripe.infra:80"],
  ["stripe.infra", 80, "stripe.infra:80"],
  ["__proto__", 80, undefined],
  ["", undefined, undefined],
];

void t.test(
  "a Service is found by each of its names, in the caller's namespace by the short one",
  (t) => {
    const snapshot = compile([
      service("shop/orders", {
        ports: [
          { name: "rpc", port: 81 },
          { name: "http", port: 80 },
        ],
      }),
      service("infra/rates", { ports: [{ port: 9000 }] }),
      service("infra/hidden", { exportTo: ["."] }),
      service("infra/shared", { exportTo: ["other", "shop"] }),
      external("infra/stripe", ["api.stripe.com"]),
    ]);
    for (const [host, port, key] of NAMES)
      t.equal(snapshot.destination(host, port)?.key, key, `${host}:${port}`);
    t.end();
  },
);

void t.test(
  "no name takes another's full name away, and the loser is told",
  (t) => {
    const snapshot = compile([
      external("shop/fake", ["orders.shop", "example.com"], {}, born(1)),
      service("shop/orders", {}, born(9)),
      external("infra/second", ["example.com"], {}, born(2)),
    ]);
    t.equal(snapshot.destination("orders.shop", 80)?.key, "orders.shop:80");
    t.equal(
      snapshot.destination("example.com", 80)?.cluster.service.name,
      "fake",
      "of two the older",
    );
    t.match(snapshot.warnings, [
      /shop\/fake does not get orders\.shop:80: it belongs to Service shop\/orders/,
      /shop\/fake does not get orders\.shop:443: it belongs to Service shop\/orders/,
      /infra\/second does not get example\.com:80: it belongs to Service shop\/fake/,
      /infra\/second does not get example\.com:443/,
    ]);
    t.equal(
      snapshot.destination("orders.shop", 443),
      undefined,
      "a name of the mesh is its own with every port",
    );
    t.end();
  },
);

void t.test(
  "an older external Service takes no address of the mesh's own",
  (t) => {
    const snapshot = compile([
      external(
        "infra/fixed",
        ["fixed.example"],
        {
          resolution: "STATIC",
          endpoints: [{ address: "10.0.0.1" }],
          ports: [{ port: 8080 }],
        },
        born(1),
      ),
      external(
        "infra/later",
        ["later.example"],
        {
          resolution: "STATIC",
          endpoints: [{ address: "10.0.0.1" }, { address: "10.0.0.9" }],
          ports: [{ port: 8080 }],
        },
        born(2),
      ),
      service("shop/orders", {}, born(9)),
      workload("shop/orders-1", "orders"),
    ]);
    t.equal(
      snapshot.destinationByAddress("10.0.0.1", 8080)?.key,
      "orders.shop:80",
    );
    t.equal(
      snapshot.destinationByAddress("10.0.0.9", 8080)?.key,
      "later.infra:8080",
    );
    t.end();
  },
);

void t.test(
  "a request for one host of an external Service goes to no other",
  (t) => {
    const snapshot = compile([
      external("infra/stripe", ["api.stripe.com", "files.stripe.com"]),
    ]);
    const addresses = (host: string): readonly string[] =>
      snapshot
        .destination(host, 80)
        ?.cluster.endpoints.map((endpoint) => endpoint.address) ?? [];
    t.strictSame(addresses("api.stripe.com"), ["api.stripe.com"]);
    t.strictSame(addresses("files.stripe.com"), ["files.stripe.com"]);
    const destination = snapshot.destination("files.stripe.com", 80);
    t.equal(destination?.cluster.destination, "stripe.infra:80");
    t.match(destination?.route(request("/"), 0), {
      kind: "forward",
      cluster: { key: "stripe.infra:80@files.stripe.com:80" },
    });
    t.equal(new Set(snapshot.clusters.map(({ key }) => key)).size, 6);
    t.end();
  },
);

void t.test(
  "captured HTTP goes by its Service, captured bytes to the endpoint that was dialled",
  (t) => {
    const snapshot = compile([
      service("shop/orders", {}, born(1)),
      service("shop/orders-v1", { selector: { app: "orders" } }, born(2)),
      service("shop/db", {
        ports: [{ name: "pg", port: 5432, appProtocol: "tcp" }],
      }),
      workload("shop/orders-1", "orders"),
      workload("shop/orders-2", "orders", { address: "10.0.0.2" }),
      workload("shop/db-1", "db", { address: "10.0.1.1", ports: { pg: 5432 } }),
      workload("shop/db-2", "db", { address: "10.0.1.1", ports: { pg: 5433 } }),
    ]);
    const orders = snapshot.destinationByAddress("10.0.0.2", 8080);
    t.equal(
      orders,
      snapshot.destination("orders", 80),
      "of two Services the older",
    );
    t.equal(orders?.cluster.endpoints.length, 2);
    const replica = snapshot.destinationByAddress("10.0.1.1", 5433);
    t.match(replica?.cluster, {
      key: "db.shop:5432@shop/db-2:5433",
      destination: "db.shop:5432",
      endpoints: [{ port: 5433 }],
    });
    t.equal(replica?.cluster.endpoints.length, 1);
    t.equal(snapshot.destinationByAddress("10.0.0.2", 15_008), undefined);
    t.equal(snapshot.destinationByAddress("10.9.9.9", 8080), undefined);
    t.end();
  },
);

void t.test(
  "an external Service with fixed addresses is found by them, one with names is not",
  (t) => {
    const snapshot = compile([
      external("infra/fixed", ["fixed.example"], {
        resolution: "STATIC",
        endpoints: [{ address: "192.0.2.1" }, { address: "192.0.2.2" }],
      }),
      external("infra/named", ["named.example"]),
    ]);
    t.equal(
      snapshot.destinationByAddress("192.0.2.2", 80)?.key,
      "fixed.infra:80",
    );
    t.equal(
      snapshot.destination("fixed.example", 80)?.cluster.endpoints.length,
      2,
    );
    t.equal(
      snapshot.destinationByAddress("192.0.2.2", 443)?.cluster.endpoints.length,
      1,
      "tls is opaque",
    );
    t.equal(snapshot.destinationByAddress("named.example", 80), undefined);
    t.end();
  },
);

void t.test(
  "a target port outside the mesh is what is dialled, and no name for callers",
  (t) => {
    const snapshot = compile([
      external("infra/fixed", ["fixed.example"], {
        resolution: "STATIC",
        endpoints: [{ address: "192.0.2.1" }],
        ports: [{ port: 80, targetPort: 8443 }],
      }),
    ]);
    for (const found of [
      snapshot.destination("fixed.example", 80),
      snapshot.destinationByAddress("192.0.2.1", 80),
    ])
      t.match(found?.cluster.endpoints, [
        { address: "192.0.2.1", port: 8443, host: "fixed.example" },
      ]);
    t.equal(snapshot.destination("fixed.example", 8443), undefined);
    t.equal(snapshot.destinationByAddress("192.0.2.1", 8443), undefined);
    t.end();
  },
);
