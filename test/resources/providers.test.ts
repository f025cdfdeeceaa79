/** Providers of authorization in the Mesh: accepted and refused values, what is resolved, and policies that name none of them. */
import t from "tap";
import { AUTHORIZATION_POLICY } from "../../src/resources/authorization-policy/schema.ts";
import { checkReferences } from "../../src/resources/cross-checks/references.ts";
import { providersOf } from "../../src/resources/mesh/providers.ts";
import { MESH } from "../../src/resources/mesh/schema.ts";
import {
  authorizationPolicy,
  mesh,
} from "../support/resources/policy-fixtures.ts";
import { runCases, type Case } from "../support/resources/resource-cases.ts";

const GRPC = { address: "127.0.0.1:9191" };

function row(
  title: string,
  providers: readonly object[],
  ...expected: readonly [string, RegExp][]
): Case {
  return [
    title,
    { authorization: { defaultAction: "ALLOW", providers } },
    ...expected,
  ];
}

const at = (field: string): string => `spec.authorization.providers[0]${field}`;

void t.test("providers of authorization", (t) => {
  runCases(t, MESH, [
    row("none", []),
    row("gRPC", [{ name: "opa", grpc: GRPC }]),
    row("all of HTTP", [
      {
        name: "opa",
        http: {
          address: "[::1]:80",
          tls: { trustBundle: "PEM", serverName: "opa.example" },
          pathPrefix: "/check",
          headersToProvider: ["cookie", "x-*", "*-id"],
          addHeaders: [{ name: "x-from", value: "mesh" }],
        },
        ...{ timeout: "30s", failOpen: true, statusOnError: 599 },
        body: { maxBytes: 1_048_576, partial: true, asBytes: true },
        headersToApplication: ["x-user"],
        headersToCallerOnDeny: ["set-cookie"],
        headersToCallerOnAllow: ["set-cookie"],
      },
    ]),
    row("neither", [{ name: "opa" }], [at(""), /expected either http or grpc/]),
    row(
      "both",
      [{ name: "opa", grpc: GRPC, http: GRPC }],
      [at(""), /expected either http or grpc/],
    ),
    row(
      "one name twice",
      [
        { name: "opa", grpc: GRPC },
        { name: "opa", http: GRPC },
      ],
      ["spec.authorization.providers[1].name", /"opa" is there twice/],
    ),
    ...["opa", "opa:", ":1", "http://opa:1", "opa:0", "o pa:1"].map((address) =>
      row(
        `address ${address}`,
        [{ name: "opa", grpc: { address } }],
        [at(".grpc.address"), /is not an address such as/],
      ),
    ),
    row(
      "a port that is none",
      [{ name: "opa", http: { address: "opa:70000" } }],
      [at(".http.address"), /has no port from 1 to 65535/],
    ),
    ...["0s", "31s"].map((timeout) =>
      row(
        `timeout ${timeout}`,
        [{ name: "opa", grpc: GRPC, timeout }],
        [at(".timeout"), /must be from 1ms to 30s/],
      ),
    ),
    ...["*", "x *", ":path", "a*b", "x:"].map((header) =>
      row(
        `header ${header}`,
        [{ name: "opa", grpc: GRPC, headersToApplication: [header] }],
        [at(".headersToApplication[0]"), /is not a header name/],
      ),
    ),
    row(
      "a body of no bytes",
      [{ name: "opa", grpc: GRPC, body: { maxBytes: 0 } }],
      [at(".body.maxBytes"), /0 is below 1/],
    ),
    row(
      "success on error",
      [{ name: "opa", grpc: GRPC, statusOnError: 200 }],
      [at(".statusOnError"), /200 is below 400/],
    ),
    row(
      "an unknown field",
      [{ name: "opa", grpc: GRPC, failureModeAllow: true }],
      [at(".failureModeAllow"), /unknown field/],
    ),
  ]);
  t.end();
});

void t.test("action CUSTOM names a provider", (t) => {
  runCases(t, AUTHORIZATION_POLICY, [
    ["CUSTOM", { action: "CUSTOM", provider: { name: "opa" }, rules: [{}] }],
    [
      "CUSTOM without provider",
      { action: "CUSTOM", rules: [{}] },
      ["spec.provider", /is required with action CUSTOM/],
    ],
    [
      "CUSTOM without rules",
      { action: "CUSTOM", provider: { name: "opa" } },
      ["spec.rules", /this CUSTOM matches no request/],
    ],
    [
      "a provider and another action",
      { action: "DENY", provider: { name: "opa" }, rules: [{}] },
      ["spec.provider", /must not stand beside action DENY/],
    ],
    [
      "a provider and no action",
      { provider: { name: "opa" } },
      ["spec.provider", /must not stand beside action ALLOW/],
    ],
    [
      "a provider without a name",
      { action: "CUSTOM", provider: {}, rules: [{}] },
      ["spec.provider.name", /is required/],
    ],
  ]);
  t.end();
});

void t.test("what is resolved", (t) => {
  t.same(providersOf(undefined), []);
  t.match(
    providersOf([
      { name: "opa", grpc: GRPC, headersToApplication: ["X-User"] },
      { name: "web", http: GRPC, timeout: "1s" },
    ]),
    [
      {
        server: { kind: "grpc", address: "127.0.0.1:9191", tls: undefined },
        ...{ timeout: 200, failOpen: false, statusOnError: 403 },
        ...{ body: undefined, headersToApplication: ["x-user"] },
      },
      {
        server: { kind: "http", pathPrefix: "", headersToProvider: [] },
        timeout: 1000,
      },
    ],
  );
  t.end();
});

void t.test(
  "a policy that names a provider which the Mesh does not have",
  (t) => {
    const policy = authorizationPolicy("shop/ask", {
      action: "CUSTOM",
      provider: { name: "opa" },
      rules: [{}],
    });
    const problems = (...names: readonly string[]): unknown =>
      checkReferences(policy, () =>
        mesh({
          authorization: {
            defaultAction: "ALLOW",
            providers: names.map((name) => ({ name, grpc: GRPC })),
          },
        }),
      );
    t.same(problems("web", "opa"), []);
    t.match(problems("web"), [
      {
        path: "spec.provider.name",
        severity: "warning",
        message: /the Mesh has no provider "opa" yet/,
      },
    ]);
    t.same(
      checkReferences(policy, () => undefined),
      [],
      "no Mesh, no word",
    );
    t.end();
  },
);
