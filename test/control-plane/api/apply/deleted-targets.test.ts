/** A Service that policies name in `targetRefs` is deleted: which of them are left without a target, and what that opens. */
import t from "tap";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { rig } from "../../../support/control-plane/api.ts";
import { resource } from "../../../support/meshes/pair.ts";
import {
  service,
  workload,
} from "../../../support/resources/policy-fixtures.ts";

const targets = (...names: string[]): object => ({
  targetRefs: names.map((name) => ({ kind: "Service", name })),
});
const tokens = (namespace: string): Resource =>
  resource(
    "RequestAuthentication",
    "tokens",
    {
      ...targets("orders"),
      jwtRules: [{ issuer: "https://a.example", jwks: '{"keys":[]}' }],
    },
    { namespace },
  );

const STORED: readonly Resource[] = [
  service("shop/orders"),
  service("shop/stock"),
  service("shop/idle"),
  service("far/orders"),
  workload("shop/orders-1", "orders"),
  workload("shop/stock-1", "stock"),
  resource("AuthorizationPolicy", "readers", {
    ...targets("orders", "stock"),
    rules: [{}],
  }),
  resource("AuthorizationPolicy", "no-job", {
    ...targets("orders"),
    ...{
      action: "DENY",
      rules: [{ from: [{ source: { namespaces: ["job"] } }] }],
    },
  }),
  tokens("shop"),
  tokens("far"),
  resource("TrafficPolicy", "limits", {
    ...targets("orders"),
    rateLimit: { requests: 1, interval: "1s" },
  }),
];

const acts = (policy: string): string =>
  `is a target of ${policy}, which acts on nothing by it from then on`;
const READERS = acts("AuthorizationPolicy shop/readers");
const OTHERS = [
  acts("AuthorizationPolicy shop/no-job"),
  acts("RequestAuthentication shop/tokens"),
  acts("TrafficPolicy shop/limits"),
];
const opens = (workload: string): string =>
  `is a target of AuthorizationPolicy shop/readers, which was the last ALLOW of ${workload}: without it the Mesh's defaultAction decides there again`;

/** What is deleted at once, and what is said of each. */
const ROWS: readonly (readonly [
  what: string,
  deleted: readonly string[],
  said: readonly (readonly [at: number, message: string])[],
])[] = [
  ["a Service that no policy names", ["Service shop/idle"], []],
  ["a Service that is not there", ["Service shop/none"], []],
  [
    "one that is the only target",
    ["Service far/orders"],
    [[0, acts("RequestAuthentication far/tokens")]],
  ],
  [
    "one of two targets of an ALLOW",
    ["Service shop/stock"],
    [
      [0, READERS],
      [0, opens("shop/stock-1")],
    ],
  ],
  [
    "all targets of an ALLOW, the others' too",
    ["Service shop/idle", "Service shop/orders", "Service shop/stock"],
    [
      [1, OTHERS[0] ?? ""],
      [1, READERS],
      [1, OTHERS[1] ?? ""],
      [1, OTHERS[2] ?? ""],
      [1, opens("shop/orders-1, shop/stock-1")],
      [2, READERS],
    ],
  ],
  [
    "one of two targets, and what has the other's name elsewhere",
    ["Service far/orders", "Service shop/stock"],
    [
      [0, acts("RequestAuthentication far/tokens")],
      [1, READERS],
      [1, opens("shop/stock-1")],
    ],
  ],
  [
    "a Service with its policies",
    ["Service far/orders", "RequestAuthentication far/tokens"],
    [],
  ],
];

void t.test("in a list", async (t) => {
  const { store, call } = await rig(t);
  for (const each of STORED) await store.put(each, undefined);
  for (const [what, deleted, said] of ROWS) {
    const items = deleted.map((text) => {
      const [kind = "", path = ""] = text.split(" ");
      const [namespace = "", name = ""] = path.split("/");
      return { ...resource(kind, name, undefined, { namespace }) };
    });
    const { body } = await call("POST", "/delete?dryRun=All", { items });
    t.strictSame(
      body["warnings"],
      said.map(([at, message]) => ({ field: `items[${at}]`, message })),
      what,
    );
  }
});

void t.test("by itself, as it is deleted", async (t) => {
  const { store, call } = await rig(t);
  for (const each of STORED) await store.put(each, undefined);
  const path = "/apis/mesh.wherry.dev/v1alpha1/namespaces/shop/services/stock";
  for (const query of ["?dryRun=All", ""]) {
    const { code, headers } = await call("DELETE", `${path}${query}`);
    t.equal(code, 200);
    t.equal(
      headers.warning,
      [READERS, opens("shop/stock-1")]
        .map((text) => `299 - ${JSON.stringify(text)}`)
        .join(", "),
      query,
    );
  }
});
