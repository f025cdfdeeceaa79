import { readFileSync } from "node:fs";
import t from "tap";
import {
  FIELDS_SINCE,
  OLDEST_SCHEMA,
  usedOf,
  withoutFields,
  type FieldSince,
} from "../../src/push/fields-since.ts";
import { SCHEMA_VERSION } from "../../src/push/names.ts";
import { KINDS } from "../../src/resources/registry.ts";
import { service } from "../support/control-plane/push-control-plane.ts";
import { authorizationPolicy } from "../support/resources/policy-fixtures.ts";
import { fieldsOf } from "../support/push/fields.ts";

/** As `fieldsOf` names them: what the oldest schema knows. It is recorded, and never changes while that schema is served. */
const OLDEST = readFileSync(
  new URL("../support/push/fields-of-schema-2.txt", import.meta.url),
  "utf8",
)
  .trim()
  .split("\n");

function namesOf({ kind, path, values }: FieldSince): readonly string[] {
  const name = path === "" ? kind : `${kind} ${path}`;
  return values === undefined
    ? [name]
    : values.map((value) => `${name}=${value}`);
}

void t.test(
  "every field and value of a kind is in the recorded schema or in the table, and none is in both",
  (t) => {
    const recorded = new Set(OLDEST);
    const tabled = FIELDS_SINCE.filter(
      ({ like, only }) => !like && !only,
    ).flatMap(namesOf);
    const now = fieldsOf(KINDS);
    const isTabled = (name: string): boolean =>
      tabled.some(
        (each) =>
          name === each ||
          [".", "[]", "=", " "].some((next) => name.startsWith(each + next)),
      );
    t.equal(OLDEST_SCHEMA, 2);
    t.strictSame(
      now.filter((name) => !recorded.has(name) && !isTabled(name)),
      [],
      "a new field has a line in FIELDS_SINCE",
    );
    t.strictSame(
      FIELDS_SINCE.flatMap((field) =>
        namesOf(field).filter(
          (name) =>
            (field.like === undefined && field.only === undefined
              ? recorded.has(name)
              : !recorded.has(name) && !isTabled(name)) || !now.includes(name),
        ),
      ),
      [],
      "a line of the table is of a field that is there, and was not",
    );
    for (const field of FIELDS_SINCE) {
      t.ok(field.since > OLDEST_SCHEMA, field.path);
      t.ok(
        field.since <= SCHEMA_VERSION,
        `${field.path}: raise SCHEMA_VERSION`,
      );
    }
    t.end();
  },
);

/** Fields of an AuthorizationPolicy's rule, and whether a sidecar of schema 3 can read them. */
const RULES: readonly (readonly [object, boolean])[] = [
  [{ from: [{ source: { namespaces: ["shop"] } }] }, true],
  [{ from: [{ source: { ipBlocks: ["10.0.0.0/8"] } }] }, false],
  [{ when: [{ key: "source.ip", values: ["::1"] }] }, false],
  [{ to: [{ operation: { paths: ["/a/{**}"] } }] }, true],
  [{ to: [{ operation: { paths: ["/a", "/a/{**}/b"] } }] }, false],
  [{ to: [{ operation: { notPaths: ["/{**}/"] } }] }, false],
  [{ to: [{ operation: { hosts: ["a.shop"] } }] }, true],
  [{ to: [{ operation: { hosts: ["a.shop", "b.shop:*"] } }] }, false],
  [{ from: [{ source: { requestPrincipals: ["*"] } }] }, false],
  [{ when: [{ key: "request.auth.claims[a]", values: ["b"] }] }, false],
];

void t.test("values that an older sidecar would refuse are new", (t) => {
  for (const [rule, isKnown] of RULES) {
    const policy = authorizationPolicy("shop/p", { rules: [rule] });
    const used = usedOf(policy, FIELDS_SINCE);
    t.equal(used.length === 0, isKnown, JSON.stringify(rule));
    t.ok(used.every(({ without }) => without === "withheld"));
  }
  t.end();
});

void t.test(
  "a policy that changes no verdict is new, by its action or by its annotation",
  (t) => {
    const used = (
      annotations: Record<string, string>,
      action: "ALLOW" | "AUDIT",
    ) =>
      usedOf(
        authorizationPolicy("shop/p", { action, rules: [{}] }, { annotations }),
        FIELDS_SINCE,
      ).map(({ path }) => path);
    t.strictSame(used({}, "ALLOW"), []);
    t.strictSame(used({ "example.com/a": "true" }, "ALLOW"), []);
    t.strictSame(used({ "istio.io/dry-run": "false" }, "ALLOW"), []);
    t.strictSame(used({ "istio.io/dry-run": "true" }, "ALLOW"), [
      "metadata.annotations.*",
    ]);
    t.strictSame(used({}, "AUDIT"), ["spec.action"]);
    t.end();
  },
);

void t.test(
  "a port's target is new of a Service outside the mesh alone",
  (t) => {
    const ports = [{ port: 80, targetPort: 443 }];
    const used = (spec: Record<string, unknown>) =>
      usedOf(service("orders", spec), FIELDS_SINCE).map(({ path }) => path);
    t.strictSame(used({ ports }), []);
    t.strictSame(
      used({ ports, location: "MESH_EXTERNAL", hosts: ["api.example.com"] }),
      ["spec.ports[].targetPort"],
    );
    t.end();
  },
);

const line = (path: string, values?: readonly string[]): FieldSince => ({
  kind: "Service",
  path,
  since: 9,
  without: "same",
  ...(values === undefined ? {} : { values }),
});

void t.test("a resource uses a field where it has it", (t) => {
  const orders = service("orders", {
    ports: [{ port: 80 }, { port: 81, appProtocol: "grpc" }],
    exportTo: ["shop", "."],
  });
  for (const [field, isUsed] of [
    [line(""), true],
    [line("spec.selector"), true],
    [line("spec.selector.*"), true],
    [line("spec.selector.app", ["orders"]), true],
    [line("spec.selector.*", ["web"]), false],
    [line("spec.hosts"), false],
    [line("spec.ports[].appProtocol"), true],
    [line("spec.ports[].appProtocol", ["grpc", "x"]), true],
    [line("spec.ports[].appProtocol", ["http"]), false],
    [line("spec.ports[].targetPort"), false],
    [line("spec.ports.appProtocol"), false],
    [line("spec.exportTo", ["."]), true],
    [line("spec.exportTo", ["*"]), false],
    [line("spec.constructor"), false],
    [{ ...line("spec.selector"), kind: "Workload" }, false],
  ] as const)
    t.equal(
      usedOf(orders, [field]).length === 1,
      isUsed,
      `${field.kind} ${field.path} ${field.values?.join() ?? ""}`,
    );
  t.end();
});

void t.test("what is left out leaves the rest as it was", (t) => {
  const orders = service("orders", {
    ports: [
      { port: 80, appProtocol: "http" },
      { port: 81, appProtocol: "grpc" },
    ],
  });
  const before = JSON.stringify(orders);
  const rest = withoutFields(orders, [
    line("spec.selector.app"),
    line("spec.ports[].appProtocol", ["grpc"]),
    line("spec.hosts"),
  ]);
  t.strictSame(rest, {
    ...orders,
    spec: {
      ports: [{ port: 80, appProtocol: "http" }, { port: 81 }],
      selector: {},
    },
  });
  t.equal(JSON.stringify(orders), before);
  t.end();
});
