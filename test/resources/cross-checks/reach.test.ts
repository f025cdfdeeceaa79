/** Security policies that match nothing that there is now are warned of; those that can match nothing in this mesh are refused. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  reachChecker,
  reachOf,
} from "../../../src/resources/cross-checks/reach.ts";
import {
  authorizationPolicy,
  service,
  workload,
} from "../../support/resources/policy-fixtures.ts";

const MESH: readonly Resource[] = [
  service("shop/orders", {
    ports: [{ name: "http", port: 80, targetPort: 8080 }],
  }),
  service("shop/late"),
  workload("shop/orders-1", "orders", { ports: { http: 8080, admin: 9000 } }),
  workload("shop/batch-1", "batch", {}, { labels: { app: "batch", v: "2" } }),
  workload("bank/ledger-1", "ledger", { ports: { http: 7000 } }),
];

function said(policy: Resource, complete = true, domain?: string): string[] {
  return reachChecker(
    atOnce(
      reachOf(MESH, domain === undefined ? undefined : [domain], complete),
    ),
  )(policy).map(
    ({ severity = "error", path, message }) =>
      `${severity} ${path}: ${message}`,
  );
}

const selecting = (name: string, matchLabels: Record<string, string>) =>
  authorizationPolicy(name, {
    action: "DENY",
    selector: { matchLabels },
    rules: [{}],
  });
const to = (
  name: string,
  ports: string[],
  matchLabels?: Record<string, string>,
) =>
  authorizationPolicy(name, {
    action: "DENY",
    ...(matchLabels === undefined ? {} : { selector: { matchLabels } }),
    rules: [{ to: [{ operation: { ports } }] }],
  });
const from = (source: Record<string, string[]>) =>
  authorizationPolicy("shop/p", { rules: [{ from: [{ source }] }] });
const when = (
  key: string,
  values: string[],
  field: "values" | "notValues" = "values",
) =>
  authorizationPolicy("shop/p", {
    rules: [{ when: [{ key, [field]: values }] }],
  });

/** A policy; what is said of it. */
const CASES: readonly (readonly [string, Resource, ...RegExp[]])[] = [
  ["a selector of a Workload", selecting("shop/p", { app: "orders" })],
  ["of a Workload without a Service", selecting("shop/p", { v: "2" })],
  ["of a Service without a Workload", selecting("shop/p", { app: "late" })],
  [
    "labels that a Service's workloads may carry besides",
    selecting("shop/p", { app: "orders", tier: "gold" }),
  ],
  [
    "a misspelt label",
    selecting("shop/p", { app: "order" }),
    /^warning spec\.selector: selects nothing .* no Workload in namespace shop has app=order/,
  ],
  [
    "another namespace's label",
    selecting("shop/p", { app: "ledger" }),
    /selects nothing/,
  ],
  [
    "in the root namespace all count",
    selecting("wherry-system/p", { app: "ledger" }),
  ],
  [
    "in the root namespace too",
    selecting("wherry-system/p", { app: "nobody" }),
    /no Workload has app=nobody/,
  ],
  [
    "a namespace without anybody",
    selecting("nowhere/p", { app: "orders" }),
    /^warning metadata\.namespace: there is no Service and no Workload in namespace nowhere/,
  ],
  ["a port of the workload", to("shop/p", ["8080", "9000"])],
  [
    "a Service's port, with the workload's",
    to("shop/p", ["80"], { app: "orders" }),
    /^warning spec\.rules\[0\]\.to\[0\]\.operation\.ports\[0\]: .*port 80 of the Service leads to 8080/,
  ],
  [
    "a port of another workload",
    to("shop/p", ["7000"]),
    /has port 7000 now: expected one of/,
  ],
  ["of the whole mesh", to("wherry-system/p", ["7000"])],
  ["a namespace", from({ namespaces: ["bank"], notNamespaces: ["shop"] })],
  ["patterns of namespaces", from({ namespaces: ["ba*", "*"] })],
  [
    "a namespace that is not there",
    from({ namespaces: ["bonk"], notNamespaces: ["bunk"] }),
    /^warning .*namespaces\[0\]: .*namespace bonk now/,
    /^warning .*notNamespaces\[0\]: .*bunk/,
  ],
  [
    "the control plane's own namespace",
    from({ namespaces: ["wherry-system"] }),
  ],
  ["a principal", from({ principals: ["cluster.local/ns/bank/sa/x"] })],
  [
    "a principal of nowhere",
    from({ principals: ["cluster.local/ns/bonk/sa/x"] }),
    /^warning .*principals\[0\]/,
  ],
  [
    "accounts of here and there",
    from({ serviceAccounts: ["x", "bank/x"], notServiceAccounts: ["bonk/x"] }),
    /^warning .*notServiceAccounts\[0\]: .*namespace bonk now, so "bonk\/x"/,
  ],
  [
    "conditions that somebody meets",
    authorizationPolicy("shop/p", {
      rules: [
        {
          when: [
            { key: "source.namespace", values: ["bank", "sh*"] },
            { key: "source.principal", values: ["*/ns/bank/sa/x"] },
            { key: "source.serviceAccount", values: ["bank/x"] },
            { key: "destination.port", values: ["8080"], notValues: ["80"] },
          ],
        },
      ],
    }),
  ],
  [
    "a condition by a namespace that is not there",
    when("source.namespace", ["bank", "bonk"]),
    /^warning spec\.rules\[0\]\.when\[0\]\.values\[1\]: .*namespace bonk now/,
  ],
  [
    "its denial",
    when("source.namespace", ["bonk"], "notValues"),
    /^warning .*when\[0\]\.notValues\[0\]: .*namespace bonk now/,
  ],
  [
    "a condition by a principal of nowhere",
    when("source.principal", ["cluster.local/ns/bonk/sa/x"]),
    /^warning .*when\[0\]\.values\[0\]: .*namespace bonk now/,
  ],
  [
    "a condition by an account of nowhere",
    when("source.serviceAccount", ["bonk/x"]),
    /^warning .*when\[0\]\.values\[0\]: .*namespace bonk now/,
  ],
  [
    "a condition by a port of nobody",
    when("destination.port", ["8080", "80"]),
    /^warning .*when\[0\]\.values\[1\]: .*port 80 of the Service leads to 8080/,
  ],
];

for (const [name, policy, ...words] of CASES)
  void t.test(name, (t) => {
    const found = said(policy);
    t.equal(found.length, words.length, found.join("; "));
    for (const [index, word] of words.entries()) t.match(found[index], word);
    t.end();
  });

void t.test("PeerAuthentication too", (t) => {
  const strict = (portLevelMtls: object, app: string): Resource => ({
    apiVersion: "security.istio.io/v1",
    kind: "PeerAuthentication",
    metadata: { name: "p", namespace: "shop" },
    spec: { selector: { matchLabels: { app } }, portLevelMtls },
  });
  t.same(said(strict({ 8080: { mode: "STRICT" } }, "orders")), []);
  t.match(said(strict({ 80: { mode: "STRICT" } }, "orders")), [
    /^warning spec\.portLevelMtls\["80"\]: .*leads to 8080/,
  ]);
  t.match(said(strict({ 8080: { mode: "STRICT" } }, "order")), [
    /spec\.selector: selects nothing/,
  ]);
  t.end();
});

void t.test("Telemetry too", (t) => {
  const of = (app: string): Resource => ({
    apiVersion: "telemetry.istio.io/v1",
    kind: "Telemetry",
    metadata: { name: "t", namespace: "shop" },
    spec: { selector: { matchLabels: { app } } },
  });
  t.same(said(of("orders")), []);
  t.match(said(of("order")), [/spec\.selector: selects nothing/]);
  t.end();
});

void t.test("files say nothing of namespaces that they do not hold", (t) => {
  t.same(said(selecting("nowhere/p", { app: "orders" }), false), []);
  t.same(said(from({ namespaces: ["bonk"] }), false), []);
  t.match(said(selecting("shop/p", { app: "order" }), false), [/selects/]);
  t.end();
});

void t.test("principals of another trust domain", (t) => {
  for (const [pattern, possible] of [
    ["mesh.example/ns/bank/sa/x", true],
    ["mesh.example/*", true],
    ["mesh.*", true],
    ["*", true],
    ["*/ns/bank/sa/x", true],
    ["*.example/ns/bank/sa/x", true],
    ["*/sa/x", true],
    ["*x", true],
    // The mesh's own domain by its other name, as in Istio.
    ["cluster.local/ns/bank/sa/x", true],
    ["cluster.local/*", true],
    ["mesh.example.org/ns/bank/sa/x", false],
    ["mesh.example-*", false],
    ["other.local/ns/bank/sa/x", false],
    ["*.local/ns/bank/sa/x", false],
  ] as const) {
    const found = said(from({ principals: [pattern] }), true, "mesh.example");
    t.equal(found.length, possible ? 0 : 1, `${pattern}: ${found.join()}`);
    if (!possible)
      t.match(found, [/^error .*begins with mesh\.example\/ns\//], pattern);
    for (const field of ["values", "notValues"] as const)
      t.equal(
        said(when("source.principal", [pattern], field), true, "mesh.example")
          .length,
        found.length,
        `when: ${field}: ${pattern}`,
      );
  }
  t.end();
});

void t.test("trust domains that are not this mesh's", (t) => {
  for (const [pattern, possible] of [
    ["mesh.example", true],
    ["mesh.*", true],
    ["*.example", true],
    ["*", true],
    // It is this mesh's name in principals alone.
    ["cluster.local", false],
    ["old.example", false],
    ["old.*", false],
    ["*.org", false],
  ] as const)
    for (const [policy, where] of [
      ...["trustDomains", "notTrustDomains"].map(
        (field) => [from({ [field]: [pattern] }), `source\\.${field}`] as const,
      ),
      ...(["values", "notValues"] as const).map(
        (field) =>
          [
            when("source.trustDomain", [pattern], field),
            `when\\[0\\]\\.${field}`,
          ] as const,
      ),
    ]) {
      t.match(
        said(policy, true, "mesh.example"),
        possible
          ? []
          : [
              new RegExp(
                `^warning .*${where}\\[0\\]: .*matches nobody: the trust domain of this mesh is mesh\\.example`,
              ),
            ],
        `${where}: ${pattern}`,
      );
      t.same(said(policy), [], "without a Mesh nothing is known");
    }
  t.end();
});
