/** What holds for every kind: the envelope, names, unknown fields, and the words of a refusal. */
import t from "tap";
import { HTTP_ROUTE } from "../../src/resources/http-route/schema.ts";
import { MESH } from "../../src/resources/mesh/schema.ts";
import { KINDS } from "../../src/resources/registry.ts";
import { SERVICE } from "../../src/resources/service/schema.ts";
import {
  normalise,
  prepareValidators,
  validate,
} from "../../src/resources/validate.ts";
import {
  compare,
  problemsOf,
  resourceOf,
  type Expected,
} from "../support/resources/resource-cases.ts";

const SPEC = { ports: [{ port: 80 }], selector: { app: "web" } };
const service = (changes: object): object => ({
  ...resourceOf(SERVICE, SPEC),
  ...changes,
});
const named = (metadata: object): object => resourceOf(SERVICE, SPEC, metadata);

const table: readonly (readonly [string, unknown, ...Expected[]])[] = [
  ["null", null, ["", /must be an object with apiVersion.*not nothing/]],
  ["a list", [], ["", /not a list/]],
  ["text", "kind: Service", ["", /not the text "kind: Service"/]],
  [
    "an empty object",
    {},
    ["apiVersion", /is required/],
    ["kind", /is required/],
  ],
  [
    "a kind that is no text",
    { apiVersion: "v1", kind: 7 },
    ["kind", /must be text, not the number 7/],
  ],
  [
    "a mistyped kind",
    service({ kind: "Servise" }),
    ["kind", /did you mean "Service"\?.*it has Mesh, Service/],
  ],
  [
    "a kind of a later version",
    { apiVersion: "gateway.networking.k8s.io/v1", kind: "TLSRoute" },
    ["kind", /"TLSRoute" is not a kind of this version/],
  ],
  [
    "another apiVersion of a known kind",
    service({ apiVersion: "v1" }),
    ["apiVersion", /Service is "mesh.wherry.dev\/v1alpha1" here, not "v1"/],
  ],
  [
    "a field beside spec",
    service({ specs: {} }),
    ["specs", /unknown field "specs" \(did you mean "spec"\?\)/],
  ],
  [
    "no metadata and no spec",
    { apiVersion: SERVICE.apiVersion, kind: "Service" },
    ["metadata", /is required/],
    ["spec", /is required/],
  ],
  [
    "a spec that is nothing",
    service({ spec: null }),
    ["spec", /must be an object, not nothing: write \{\}/],
  ],
  ["a name in capitals", named({ name: "Web" }), ["metadata.name", /DNS-1123/]],
  [
    "a name that is too long is one problem",
    named({ name: "a".repeat(300) }),
    ["metadata.name", /DNS-1123/],
  ],
  [
    "a number as name",
    named({ name: 5 }),
    ["metadata.name", /must be text, not the number 5: put it in quotes/],
  ],
  [
    "a namespace with a dot",
    named({ namespace: "a.b" }),
    ["metadata.namespace", /"a.b" is not a DNS-1123 label/],
  ],
  [
    "a bad label key",
    named({ labels: { "-x": "1" } }),
    ['metadata.labels["-x"]', /"-x" is not a label key/],
  ],
  [
    "a bad label value",
    named({ labels: { "app.kubernetes.io/name": "a b" } }),
    ['metadata.labels["app.kubernetes.io/name"]', /not a label value/],
  ],
  [
    "a label that YAML read as a number",
    named({ labels: { version: 2 } }),
    ["metadata.labels.version", /put it in quotes/],
  ],
  [
    "an unknown field of metadata",
    named({ label: {} }),
    ["metadata.label", /did you mean "labels"\?/],
  ],
  [
    "a timestamp that is none",
    named({ creationTimestamp: "yesterday" }),
    ["metadata.creationTimestamp", /not an RFC 3339 time/],
  ],
  [
    "a namespace on the Mesh",
    resourceOf(
      MESH,
      { authorization: { defaultAction: "DENY" } },
      { namespace: "shop" },
    ),
    ["metadata.namespace", /belongs to no namespace/],
  ],
  ["a good one", service({})],
  [
    "server-owned metadata, annotations and status, as `get -o yaml` prints them",
    {
      ...named({
        uid: "7a",
        resourceVersion: "12",
        generation: 3,
        creationTimestamp: "2026-12-01T00:00:00.123Z",
        annotations: { "example.com/note": "any text, with\nlines" },
      }),
      status: { conditions: [{ type: "Accepted", anything: true }] },
    },
  ],
];

for (const [states, value, ...expected] of table)
  void t.test(`${states}: ${expected.length} problems`, (t) => {
    compare(t, problemsOf(value), expected);
    t.end();
  });

void t.test("a mistake in many places is one problem a place", (t) => {
  compare(
    t,
    problemsOf(
      service({
        spec: {
          ports: [{ port: "80" }, { port: 0, appProtocol: "HTTP" }],
          selektor: {},
        },
      }),
    ),
    [
      ["spec.selektor", /did you mean "selector"\?/],
      ["spec.ports[0].port", /not the text "80": write it without quotes/],
      ["spec.ports[1].port", /0 is not a port number from 1 to 65535/],
      ["spec.ports[1].appProtocol", /not one of http,.*did you mean "http"\?/],
    ],
  );
  t.end();
});

void t.test(
  "a document full of mistakes is answered with 50 and a sum",
  (t) => {
    const spec = Object.fromEntries(
      Array.from({ length: 80 }, (_, index) => [`field${index}`, 1]),
    );
    const problems = problemsOf(service({ spec: { ...SPEC, ...spec } }));
    t.equal(problems.length, 51);
    t.match(problems.at(-1)?.message, /and 30 more/);
    t.end();
  },
);

void t.test("a process can get ready for all kinds, one at a time", (t) => {
  // Each is made, and then called.
  const steps = 2 * KINDS.length;
  t.equal([...prepareValidators()].length, steps);
  t.equal([...prepareValidators()].length, steps, "again at no cost");
  t.end();
});

void t.test("an own property named __proto__ is an unknown field", (t) => {
  const value: unknown = JSON.parse(
    `{"apiVersion":"${SERVICE.apiVersion}","kind":"Service","metadata":{"name":"a"},
      "spec":{"ports":[{"port":80}],"selector":{"a":"b"},"__proto__":{"x":1}}}`,
  );
  compare(t, problemsOf(value), [["spec.__proto__", /unknown field/]]);
  t.end();
});

void t.test("an accepted resource comes back normalised", (t) => {
  const { namespace: _, ...metadata } = { name: "web", namespace: "" };
  const value = { ...resourceOf(SERVICE, SPEC), metadata, status: {} };
  const inDefault = validate(value);
  t.ok(inDefault.ok);
  if (inDefault.ok)
    t.strictSame(inDefault.resource, {
      apiVersion: SERVICE.apiVersion,
      kind: "Service",
      metadata: { name: "web", namespace: "default" },
      spec: SPEC,
    });
  const inShop = validate(value, { namespace: "shop" });
  t.equal(inShop.ok && inShop.resource.metadata.namespace, "shop");
  const mesh = normalise({
    apiVersion: MESH.apiVersion,
    kind: "Mesh",
    metadata: { name: "default" },
    spec: {},
  });
  t.strictSame(mesh.metadata, { name: "default" }, "cluster-scoped");
  t.end();
});

void t.test("what was given is not changed", (t) => {
  const value = Object.freeze(resourceOf(SERVICE, Object.freeze(SPEC)));
  t.ok(validate(value).ok);
  t.end();
});

void t.test("every kind refuses a field that it does not know", (t) => {
  for (const definition of KINDS) {
    const problems = problemsOf(resourceOf(definition, { zzz: 1 }));
    t.match(
      problems.find(({ path }) => path === "spec.zzz")?.message,
      /unknown field "zzz"; allowed here: /,
      definition.kind,
    );
  }
  t.end();
});

void t.test(
  "fields that upstream has are refused with advice, never ignored",
  (t) => {
    for (const definition of KINDS)
      for (const [shape, advice] of Object.entries(definition.unsupported))
        t.match(shape, /^(spec|metadata)\./, `${definition.kind} ${advice}`);
    const [problem] = problemsOf(
      resourceOf(HTTP_ROUTE, {
        parentRefs: [{ kind: "Service", name: "web" }],
        rules: [{ filters: [{ type: "CORS", extensionRef: {} }] }],
      }),
    );
    t.equal(problem?.path, "spec.rules[0].filters[0].extensionRef");
    t.match(problem?.message, /not supported by this version/);
    t.equal(problem?.at, "key");
    t.end();
  },
);

void t.test("a validator is linear: a long hostile text costs little", (t) => {
  for (const text of ["a".repeat(1e6), "a.".repeat(5e5), "1h".repeat(5e5)])
    t.notOk(validate(named({ name: text, labels: { [text]: text } })).ok);
  t.end();
});

void t.test("what is wrong throughout is not judged to its end", (t) => {
  let read = 0;
  const ports = new Proxy(
    Array.from({ length: 150_000 }, () => 0),
    {
      get(target, key) {
        read += 1;
        return Reflect.get(target, key) as unknown;
      },
    },
  );
  const problems = problemsOf(resourceOf(SERVICE, { ...SPEC, ports }));
  t.equal(problems[0]?.path, "spec.ports");
  t.match(problems.at(-1)?.message, /and 1950 more/);
  t.ok(read < 10_000, `${read} reads of 150,000 values`);
  t.end();
});
