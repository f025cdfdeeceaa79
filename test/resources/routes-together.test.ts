/** A Service and port take one kind of route, GRPCRoute before HTTPRoute whatever their age (model, trap 9); what a GRPCRoute refers to. */
import t from "tap";
import { conflicts } from "../../src/resources/cross-checks/conflicts.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../src/resources/envelope.ts";
import { GRPC_ROUTE } from "../../src/resources/grpc-route/schema.ts";
import { HTTP_ROUTE } from "../../src/resources/http-route/schema.ts";
import type { ParentRef } from "../../src/resources/http-route/spec.ts";
import type { KindDefinition } from "../../src/resources/kind.ts";
import { checkReferences } from "../../src/resources/cross-checks/references.ts";
import { SERVICE } from "../../src/resources/service/schema.ts";
import { compare, type Expected } from "../support/resources/resource-cases.ts";

function make<S>(
  definition: KindDefinition<S>,
  name: string,
  spec: S,
  day = 1,
): Resource<S> {
  const [namespace = "", short = ""] = name.split("/");
  return {
    apiVersion: definition.apiVersion,
    kind: definition.kind,
    metadata: {
      name: short,
      namespace,
      creationTimestamp: `2026-01-0${day}T00:00:00Z`,
    },
    spec,
  };
}

const cart = make(SERVICE, "shop/cart", {
  ports: [
    { name: "web", port: 80, appProtocol: "http" },
    { name: "grpc", port: 90, appProtocol: "grpc" },
    { name: "raw", port: 91, appProtocol: "tcp" },
  ],
  selector: { app: "cart" },
});

type Parent = Partial<ParentRef>;

function parents(list: readonly Parent[]): readonly ParentRef[] {
  return list.map((parent) => ({ kind: "Service", name: "cart", ...parent }));
}
function http(name: string, day: number, ...list: Parent[]): Resource {
  return make(
    HTTP_ROUTE,
    name,
    { parentRefs: parents(list), rules: [{}] },
    day,
  );
}
function grpc(name: string, day: number, ...list: Parent[]): Resource {
  return make(
    GRPC_ROUTE,
    name,
    { parentRefs: parents(list), rules: [{}] },
    day,
  );
}

/** Resources, and which of them lose which parent to whom. */
const CONFLICTS: readonly (readonly [
  string,
  readonly Resource[],
  readonly string[],
])[] = [
  [
    "the younger GRPCRoute wins",
    [cart, http("shop/h", 1, { port: 90 }), grpc("shop/g", 2, { port: 90 })],
    ["h spec.parentRefs[0] to g: Service shop/cart port 90"],
  ],
  [
    "a parent without a port loses the ports that are taken, and keeps the others",
    [cart, http("shop/h", 1, {}), grpc("shop/g", 2, { sectionName: "grpc" })],
    ["h spec.parentRefs[0] to g: Service shop/cart port 90"],
  ],
  [
    "other ports are no conflict",
    [cart, http("shop/h", 1, { port: 80 }), grpc("shop/g", 2, { port: 90 })],
    [],
  ],
  [
    "routes of one kind merge",
    [cart, http("shop/a", 1, {}), http("shop/b", 2, {})],
    [],
  ],
  [
    "a caller's namespace has its own routes",
    [
      cart,
      http("infra/h", 1, { namespace: "shop", port: 90 }),
      grpc("shop/g", 2, { port: 90 }),
    ],
    [],
  ],
  [
    "the oldest of the GRPCRoutes is named",
    [
      cart,
      http("shop/h", 1, { port: 90 }),
      grpc("shop/y", 3, {}),
      grpc("shop/z", 2, {}),
    ],
    ["h spec.parentRefs[0] to z: Service shop/cart port 90"],
  ],
  [
    "without the Service the words are compared",
    [http("shop/h", 1, { port: 90 }), grpc("shop/g", 2, { port: 90 })],
    ["h spec.parentRefs[0] to g: Service shop/cart port 90"],
  ],
];

for (const [states, resources, expected] of CONFLICTS)
  void t.test(`trap 9: ${states}`, (t) => {
    const found = conflicts(resources);
    t.strictSame(
      found.map(
        ({ loser, winner, path, message }) =>
          `${loser.metadata.name} ${path} to ${winner.metadata.name}: ${message.split(" has ")[0] ?? ""}`,
      ),
      expected,
    );
    for (const { reason } of found) t.equal(reason, "GRPCRouteWins");
    t.end();
  });

const existing = new Map([[formatKey(keyOf(cart)), cart]]);

/** Parent of a GRPCRoute, and what is odd about it. */
const REFERENCES: readonly (readonly [Parent, ...Expected[]])[] = [
  [{ port: 90 }],
  [
    { port: 80 },
    ["spec.parentRefs[0]", /speaks http on 80; gRPC needs HTTP\/2/],
  ],
  [
    { port: 91 },
    ["spec.parentRefs[0]", /speaks tcp on 91, where a GRPCRoute cannot act/],
  ],
  [{ name: "gone" }, ["spec.parentRefs[0].name", /no Service shop\/gone/]],
];

for (const [parent, ...expected] of REFERENCES)
  void t.test(`a GRPCRoute's parent ${JSON.stringify(parent)}`, (t) => {
    compare(
      t,
      checkReferences(grpc("shop/g", 1, parent), (key) =>
        existing.get(formatKey(key)),
      ),
      expected,
    );
    t.end();
  });

void t.test("the backend of a mirror is looked up like any other", (t) => {
  const route = make(HTTP_ROUTE, "shop/h", {
    parentRefs: parents([{ port: 80 }]),
    rules: [
      {
        backendRefs: [{ name: "cart", port: 80 }],
        filters: [
          {
            type: "RequestMirror",
            requestMirror: { backendRef: { name: "gone", port: 80 } },
          },
          {
            type: "RequestMirror",
            requestMirror: { backendRef: { name: "cart", port: 81 } },
          },
        ],
      },
    ],
  });
  compare(
    t,
    checkReferences(route, (key) => existing.get(formatKey(key))),
    [
      [
        "spec.rules[0].filters[0].requestMirror.backendRef.name",
        /no Service shop\/gone yet; until there is, nothing is copied/,
      ],
      [
        "spec.rules[0].filters[1].requestMirror.backendRef.port",
        /has no port 81/,
      ],
    ],
  );
  t.end();
});
