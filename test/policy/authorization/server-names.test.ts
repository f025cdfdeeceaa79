/** connection.sni as Istio's reference has it: what a policy may say, and which connections have it. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { compileAuthorization } from "../../../src/policy/authorization/authorization.ts";
import { AUTHORIZATION_POLICY } from "../../../src/resources/authorization-policy/schema.ts";
import { MESH_DEFAULTS } from "../../../src/resources/mesh/schema.ts";
import { authorizationPolicy } from "../../support/resources/policy-fixtures.ts";
import {
  compare,
  problemsOf,
  resourceOf,
  runCases,
  type Case,
  type Expected,
} from "../../support/resources/resource-cases.ts";

const KEY = "connection.sni";
const AT = "spec.rules[0].when[0]";
const REQUEST = {
  ...{ method: "GET", host: "h", path: "/" },
  header: () => undefined,
  lines: () => undefined,
};

/** Values of a policy, the name in a connection, and whether it is among them. */
const TABLE: readonly (readonly [
  values: readonly string[],
  name: string | undefined,
  among: boolean,
])[] = [
  [["a.example"], "a.example", true],
  [["A.Example"], "a.example", true],
  [["b.example", "a.example"], "a.example", true],
  [["a.example"], "b.a.example", false],
  [["*.example"], "a.example", true],
  [["a.*"], "a.example", true],
  [["a.*"], "b.example", false],
  [["*"], "a.example", true],
  // A connection that names no host has none of the values.
  [["*"], undefined, false],
  [["a.example"], undefined, false],
];

/** Whether a policy of that action takes the call. */
function takes(
  action: "ALLOW" | "DENY",
  list: object,
  serverName: string | undefined,
  request: typeof REQUEST | undefined,
): boolean {
  const policy = authorizationPolicy("foo/p", {
    action,
    rules: [{ when: [{ key: KEY, ...list }] }],
  });
  const { kind } = atOnce(
    compileAuthorization(
      [policy],
      { namespace: "foo", labels: {} },
      MESH_DEFAULTS,
    ),
  ).authorize({
    ...{ peer: undefined, port: 8080, request },
    connection: {
      ...{ remoteAddress: undefined, localAddress: undefined, serverName },
    },
  });
  return (kind === "allow") === (action === "ALLOW");
}

void t.test("which connections have a name among the values", (t) => {
  for (const [values, name, among] of TABLE)
    for (const action of ["ALLOW", "DENY"] as const)
      for (const request of [REQUEST, undefined]) {
        const label = `${action} ${values.join()} and ${name ?? "no name"}, ${request === undefined ? "TCP" : "HTTP"}`;
        t.equal(takes(action, { values }, name, request), among, label);
        t.equal(
          takes(action, { notValues: values }, name, request),
          !among,
          `not: ${label}`,
        );
      }
  t.end();
});

void t.test("what a policy may say", (t) => {
  const values = (name: string, ...expected: Expected[]): Case => [
    name,
    { rules: [{ when: [{ key: KEY, values: [name] }] }] },
    ...expected,
  ];
  runCases(t, AUTHORIZATION_POLICY, [
    values("*.example.com"),
    values("*"),
    ...["10.0.0.1", "a.example:443", "[::1]", "a.example:*"].map((name) =>
      values(name, [`${AT}.values[0]`, /TLS names hosts by their names alone/]),
    ),
    values("a..b", [`${AT}.values[0]`, /empty label/]),
  ]);
  t.end();
});

void t.test(
  "policies are warned of that a connection without a name gets round",
  (t) => {
    const rows: readonly (readonly [string, object, boolean])[] = [
      ["DENY", { values: ["a.example"] }, true],
      ["DENY", { notValues: ["a.example"] }, false],
      ["ALLOW", { values: ["a.example"] }, false],
      ["CUSTOM", { values: ["a.example"] }, true],
    ];
    for (const [action, list, isWarned] of rows)
      compare(
        t,
        problemsOf(
          resourceOf(AUTHORIZATION_POLICY, {
            action,
            ...(action === "CUSTOM" ? { provider: { name: "opa" } } : {}),
            rules: [{ when: [{ key: KEY, ...list }] }],
          }),
        ),
        isWarned
          ? [[`${AT}.values`, /names no host matches none.*write notValues/]]
          : [],
      );
    t.end();
  },
);
