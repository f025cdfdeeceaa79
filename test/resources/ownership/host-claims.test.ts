/** Which namespaces may claim which hosts by the Mesh: the rule, its form, and that sidecars, conditions and checks go by it. */
import t from "tap";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import { conflicts } from "../../../src/resources/cross-checks/conflicts.ts";
import {
  claimRefusal,
  type HostClaims,
} from "../../../src/resources/mesh/host-claims.ts";
import { MESH } from "../../../src/resources/mesh/schema.ts";
import { checkHosts } from "../../../src/resources/ownership/host-owners.ts";
import type { ServiceSpec } from "../../../src/resources/service/schema.ts";
import {
  born,
  mesh,
  self,
  service,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";
import { lintText } from "../../support/resources/lint-text.ts";
import { runCases, type Case } from "../../support/resources/resource-cases.ts";

const CLAIMS: HostClaims = [
  { hosts: ["api.pay.example", "*.pay.example"], namespaces: ["pay", "bank"] },
  { hosts: ["test.pay.example"], namespaces: ["shop"] },
  { hosts: ["*.banned.example"], namespaces: [] },
];
const REST: HostClaims = [...CLAIMS, { hosts: ["*"], namespaces: ["infra"] }];

/** Rules, a host, a namespace, and why it may not have it. */
const TABLE: readonly (readonly [HostClaims, string, string, RegExp?])[] = [
  [[], "api.pay.example", "shop"],
  [CLAIMS, "api.pay.example", "pay"],
  [CLAIMS, "api.pay.example", "bank"],
  [
    CLAIMS,
    "api.pay.example",
    "shop",
    /^"api\.pay\.example" belongs to the namespaces pay, bank by spec\.hostClaims\[0\] of the Mesh, and this Service is in namespace shop$/,
  ],
  [CLAIMS, "a.b.pay.example", "pay"],
  [CLAIMS, "a.b.pay.example", "shop", /pay, bank/],
  // The name itself is not below itself, and a name that ends alike is another.
  [CLAIMS, "pay.example", "shop"],
  [CLAIMS, "prepay.example", "shop"],
  // The longest that fits.
  [CLAIMS, "test.pay.example", "shop"],
  [
    CLAIMS,
    "test.pay.example",
    "pay",
    /belongs to namespace shop by spec\.hostClaims\[1\]/,
  ],
  [CLAIMS, "x.test.pay.example", "pay"],
  [CLAIMS, "a.banned.example", "shop", /belongs to nobody/],
  [CLAIMS, "free.example", "shop"],
  [REST, "free.example", "infra"],
  [REST, "free.example", "shop", /belongs to namespace infra/],
  [REST, "api.pay.example", "infra", /pay, bank/],
  // All hosts below a name are a claim on each that somebody has.
  [CLAIMS, "*.free.example", "shop"],
  [
    CLAIMS,
    "*.pay.example",
    "pay",
    /takes in "test\.pay\.example", which belongs to namespace shop/,
  ],
  [CLAIMS, "*.example", "pay", /takes in/],
];

void t.test("lint says it once, as an error", (t) => {
  const text = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec:
  authorization: { defaultAction: ALLOW }
  hostClaims: [{ hosts: [api.pay.example], namespaces: [pay] }]
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: thief, namespace: shop }
spec:
  location: MESH_EXTERNAL
  hosts: [api.pay.example]
  ports: [{ port: 443, appProtocol: tls }]
`;
  const findings = lintText(text, "a.yaml").map(
    ({ severity, path, message }) => `${severity} ${path}: ${message}`,
  );
  t.equal(findings.length, 1);
  t.match(findings[0], /^error spec\.hosts\[0\]: .*belongs to namespace pay/);
  t.end();
});

void t.test("whose a host is", (t) => {
  for (const [claims, host, namespace, why] of TABLE) {
    const found = claimRefusal(claims, host, namespace);
    const label = `${host} and ${namespace}: ${found ?? "may have it"}`;
    if (why === undefined) t.equal(found, undefined, label);
    else t.match(found, why, label);
  }
  t.end();
});

const spec = (claims: readonly unknown[]): object => ({
  authorization: { defaultAction: "ALLOW" },
  hostClaims: claims,
});
const one = (hosts: readonly string[], namespaces = ["a"]): object =>
  spec([{ hosts, namespaces }]);
const HOST_AT = "spec.hostClaims[0].hosts[0]";

runCases(t, MESH, [
  ["names, wildcards and all", one(["a.example", "*.a.example", "*"])],
  ["for nobody", one(["a.example"], [])],
  ["no entry", spec([]), ["spec.hostClaims", /is empty/]],
  ["no host", one([]), ["spec.hostClaims[0].hosts", /is empty/]],
  ...["A.example", "a.*.example", "*a.example", "a.example:443", ""].map(
    (host): Case => [`the host ${host}`, one([host]), [HOST_AT, /./]],
  ),
  [
    "a host twice",
    spec([
      { hosts: ["a.example"], namespaces: ["a"] },
      { hosts: ["b.example", "a.example"], namespaces: ["b"] },
    ]),
    ["spec.hostClaims[1].hosts[1]", /"a\.example" is there already/],
  ],
]);

function external(
  name: string,
  age: number,
  more: Partial<ServiceSpec> = {},
): ReturnType<typeof service> {
  return service(
    name,
    {
      location: "MESH_EXTERNAL",
      hosts: ["api.pay.example"],
      ports: [{ port: 80 }],
      ...more,
    },
    born(age),
  );
}

function meshWith(claims: HostClaims): ReturnType<typeof mesh> {
  return mesh(claims.length === 0 ? {} : { hostClaims: claims });
}

void t.test(
  "sidecars and conditions go by it, whichever claim is older",
  (t) => {
    const older = external("shop/thief", 1);
    const owner = external("pay/own", 2);
    for (const [claims, expected, losers] of [
      [[], "shop/thief", ["pay/own < Service"]],
      [CLAIMS, "pay/own", ["shop/thief < Mesh"]],
    ] as const) {
      const resources = [meshWith(claims), older, owner];
      const snapshot = compileSnapshot(
        resources,
        self({ namespace: "far" }),
        VERSION,
      );
      const { service: found } =
        snapshot.destination("api.pay.example", 80) ?? {};
      t.equal(found && `${found.namespace}/${found.name}`, expected);
      t.strictSame(
        conflicts(resources).map(
          ({ loser, winner }) =>
            `${loser.metadata.namespace ?? ""}/${loser.metadata.name} < ${winner.kind}`,
        ),
        losers,
      );
      t.equal(
        snapshot.warnings.some((warning) =>
          /Service shop\/thief does not get api\.pay\.example:80: no external Service/.test(
            warning,
          ),
        ),
        expected === "pay/own",
      );
    }
    t.end();
  },
);

void t.test("a change of the Mesh alone gives and takes hosts", (t) => {
  const thief = external("shop/thief", 1);
  const compiled = (claims: HostClaims, previous?: Snapshot): Snapshot =>
    compileSnapshot(
      [meshWith(claims), thief],
      self({ namespace: "far" }),
      VERSION,
      { previous },
    );
  let snapshot = compiled([]);
  for (const [claims, has] of [
    [[], true],
    [CLAIMS, false],
    [[{ hosts: ["api.pay.example"], namespaces: ["shop"] }], true],
    [CLAIMS, false],
  ] as const) {
    snapshot = compiled(claims, snapshot);
    t.equal(snapshot.destination("api.pay.example", 80) !== undefined, has);
  }
  t.end();
});

void t.test(
  "a written claim against it is refused, kept to its namespace or not",
  (t) => {
    for (const exportTo of [["*"], ["."]])
      t.match(
        checkHosts(
          external("shop/thief", 1, {
            hosts: ["free.example", "api.pay.example"],
            exportTo,
          }),
          () => false,
          { trustDomain: "cluster.local", hostClaims: CLAIMS },
        ),
        [
          {
            path: "spec.hosts[1]",
            message: /belongs to the namespaces pay, bank/,
          },
        ],
      );
    t.end();
  },
);
