/** Texts into documents and findings that say where: file, line and column. */
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import { formatFinding, lintTexts } from "../../src/resources/lint.ts";
import { lintText } from "../support/resources/lint-text.ts";
import {
  formatPath,
  fromPointer,
  parsePath,
  shapeOf,
} from "../../src/resources/path.ts";
import { parseDocuments } from "../../src/resources/yaml.ts";

const SERVICE = `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  ports: [{name: http, port: 80}]
  selector: {app: web}
`;
const ROUTE = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: web
  namespace: shop
spec:
  parentRefs:
    - kind: Service
      name: web
  rules:
    - matches:
        - path:
            type: Exact
            value: /a
      backendRefs: [{name: web, port: 80}]
`;

const lint = (text: string): string[] =>
  lintText(text, "f.yaml").map(formatFinding);

void t.test("paths and their segments are two forms of one thing", (t) => {
  for (const segments of [
    [],
    ["spec"],
    ["spec", "rules", 0, "matches", 12, "path"],
    ["metadata", "labels", "app.kubernetes.io/name"],
    ["spec", "portLevelMtls", "8080", "mode"],
    ['a"\\]b', 1],
    ["", "x-y"],
  ])
    t.strictSame(parsePath(formatPath(segments)), segments);
  for (const text of ["a..b", "a[", "[x]", 'a["', "a b"])
    t.equal(parsePath(text), undefined, text);
  t.equal(shapeOf(["spec", "rules", 0, "when"]), "spec.rules[].when");
  t.strictSame(fromPointer("/a/0/b~1c~0d/0", { a: [{ "b/c~d": { 0: 1 } }] }), [
    "a",
    0,
    "b/c~d",
    "0",
  ]);
  t.strictSame(fromPointer("/x/y", {}), ["x", "y"]);
  t.end();
});

void t.test("a good set has no finding, in YAML and in JSON", (t) => {
  t.strictSame(lint(`---\n${SERVICE}---\n---\n${ROUTE}---\n# nothing\n`), []);
  const [document] = parseDocuments(SERVICE, "f").documents;
  t.strictSame(lint(JSON.stringify(document?.value)), []);
  t.strictSame(lint(JSON.stringify(document?.value, null, "\t")), []);
  t.strictSame(lint(SERVICE.replaceAll("\n", "\r\n")), [], "CRLF");
  t.strictSame(lint(`\uFEFF${SERVICE}`), [], "byte order mark");
  t.strictSame(lint(""), []);
  t.end();
});

void t.test("each finding says where", (t) => {
  const table: readonly (readonly [string, string, string])[] = [
    [
      "an unknown field at its name",
      ROUTE.replace("matches:", "match:"),
      'f.yaml:11:7: error: spec.rules[0].match: unknown field "match" (did you mean "matches"?); allowed here: name, matches, filters, backendRefs, timeouts, retry',
    ],
    [
      "a bad value at the value",
      ROUTE.replace("value: /a", "value: a"),
      'f.yaml:14:20: error: spec.rules[0].matches[0].path.value: must start with "/"',
    ],
    [
      "a missing field at the entry that lacks it",
      ROUTE.replace("- kind: Service\n      name", "- name"),
      "f.yaml:8:7: error: spec.parentRefs[0].kind: is required: Service (Gateway API reads an absent kind as Gateway)",
    ],
    [
      "a missing field at its parent's name",
      ROUTE.replace(/ {2}rules:[^]*/, ""),
      "f.yaml:6:1: error: spec.rules: is required",
    ],
    [
      "a field of a flow collection",
      SERVICE.replace("port: 80", 'port: "80"'),
      'f.yaml:5:30: error: spec.ports[0].port: must be a whole number, not the text "80": write it without quotes',
    ],
    [
      "a map where text belongs at its name",
      ROUTE.replace("type: Exact", "type:\n              a: b"),
      'f.yaml:13:13: error: spec.rules[0].matches[0].path.type: {"a":"b"} is not one of Exact, PathPrefix, RegularExpression',
    ],
    [
      "a label at its key",
      SERVICE.replace("shop}", "shop, labels: {-a: b}}"),
      'f.yaml:3:49: error: metadata.labels["-a"]: "-a" is not a label key (an optional DNS prefix and "/", then at most 63 letters, digits, -, _ and .)',
    ],
    [
      "the document as a whole at its start",
      "---\n# a list\n- 1\n",
      "f.yaml:3:1: error: must be an object with apiVersion, kind, metadata and spec, not a list",
    ],
    [
      "in the second document",
      `${SERVICE}---\n${SERVICE.replace("Service", "Servise").replace("web", "b")}`,
      'f.yaml:9:7: error: kind: "Servise" is not a kind of this version (did you mean "Service"?); it has Mesh, Service, Workload, HTTPRoute, GRPCRoute, TrafficPolicy, FaultInjection, PeerAuthentication, RequestAuthentication, AuthorizationPolicy, Telemetry, Revocation',
    ],
    [
      "in an item of a List",
      `kind: List\napiVersion: v1\nitems:\n- ${SERVICE.trimEnd().replaceAll("\n", "\n  ").replace("kind: Service", "kynd: Service")}`,
      "f.yaml:4:3: error: kind: is required",
    ],
  ];
  for (const [states, text, finding] of table)
    t.strictSame(lint(text), [finding], states);
  t.end();
});

void t.test("what is no YAML is refused with its position", (t) => {
  const table: readonly (readonly [string, string, RegExp])[] = [
    ["a duplicate key", `${SERVICE}spec: {}\n`, /^f.yaml:7:1: error: .*unique/],
    ["a flow without end", "a: [1,\n", /^f.yaml:\d:\d: error: /],
    ["a bad indent", "a:\n  b: 1\n c: 2\n", /^f.yaml:3:\d: error: /],
    ["a tab as indent", "a:\n\tb: 1\n", /^f.yaml:2:\d: error: .*[Tt]ab/],
    ["an unknown tag", "a: !secret x\n", /^f.yaml:1:4: error: .*!secret/],
    ["an alias of nothing", "a: *b\n", /^f.yaml:1:4: error: .*no anchor &b/],
    ["a map as key", "{a: b}: c\n", /^f.yaml:1:\d: error: a key is a mapping/],
    [
      "JSON with a duplicate",
      '{"a": 1, "a": 2}',
      /^f.yaml:1:10: error: .*uniq/,
    ],
  ];
  for (const [states, text, words] of table) {
    const findings = lint(text);
    t.match(findings[0], words, states);
  }
  t.end();
});

void t.test("a broken document does not hide the next one", (t) => {
  const findings = lint(`a: 1\na: 2\n---\n${SERVICE.replace("80", "0")}`);
  t.match(findings[0], /^f.yaml:2:1: error: .*unique/);
  t.match(
    findings[1],
    /^f.yaml:8:30: error: spec.ports\[0\].port: 0 is not a port/,
  );
  t.equal(findings.length, 2);
  t.end();
});

void t.test("hostile texts end quickly and in a finding", (t) => {
  const laughs = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"];
  for (let level = 1; level < 10; level++)
    laughs.push(
      `a${level}: &a${level} [${Array(9)
        .fill(`*a${level - 1}`)
        .join(",")}]`,
    );
  t.match(lint(laughs.join("\n"))[0], /^f.yaml:1:1: error: .*alias/);
  t.match(
    lint(`a: &a 1\nb: [${"*a,".repeat(200)}]`)[0],
    /^f.yaml:2:\d+: error: has more than 100 aliases/,
  );
  t.match(
    lint(
      Array.from({ length: 50_000 }, (_, key) => `k${key}: 1`).join("\n"),
    )[0],
    /apiVersion: is required/,
  );
  t.match(lint("[".repeat(100_000))[0], /error: /);
  t.match(lint("- ".repeat(50_000))[0], /error: /);
  t.match(lint(`a: ${"x".repeat(17_000_000)}`)[0], /longer than 16777216/);
  t.end();
});

void t.test("aliases within bounds are followed, and found", (t) => {
  const text = SERVICE.replace("{app: web}", "&s {app: web}").replace(
    "shop}",
    "shop, labels: {a: &bad 7, b: *bad}}",
  );
  t.match(lint(text), [
    /^f.yaml:3:57: error: metadata.labels.a: /,
    /^f.yaml:3:63: error: metadata.labels.b: /,
  ]);
  const [document] = parseDocuments("a: &x {b: 1}\nc: *x\n", "f").documents;
  t.strictSame(document?.locate("c.b"), { line: 1, column: 11 });
  t.strictSame(document?.locate("c", "key"), { line: 2, column: 1 });
  t.strictSame(document?.locate("z.y"), { line: 1, column: 1 });
  t.strictSame(document?.locate("not a path"), { line: 1, column: 1 });
  t.end();
});

void t.test("files are checked against each other", (t) => {
  const policy = (name: string): string =>
    `apiVersion: mesh.wherry.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec: {targetRefs: [{kind: Service, name: web}]}\n`;
  const { resources, findings } = lintTexts([
    { file: "b.yaml", text: ROUTE.replace("port: 80", "port: 81") },
    {
      file: "a.yaml",
      text: `${SERVICE}---\n${policy("p1")}---\n${policy("p2")}`,
    },
    { file: "c.yaml", text: SERVICE },
  ]);
  t.strictSame(findings.map(formatFinding), [
    "b.yaml:15:39: error: spec.rules[0].backendRefs[0].port: Service shop/web has no port 81; it declares http (80)",
    "a.yaml:16:21: warning: spec.targetRefs[0]: Service shop/web has TrafficPolicy shop/p1 already, which is older and wins as a whole",
    "c.yaml:3:18: error: metadata.name: Service shop/web is in a.yaml:1 already",
  ]);
  t.strictSame(
    resources.map(({ file, line, resource }) => [file, line, resource.kind]),
    [
      ["b.yaml", 1, "HTTPRoute"],
      ["a.yaml", 1, "Service"],
      ["a.yaml", 8, "TrafficPolicy"],
      ["a.yaml", 13, "TrafficPolicy"],
      ["c.yaml", 1, "Service"],
    ],
  );
  t.strictSame(resources[0]?.locate("spec.rules[0].backendRefs"), {
    line: 15,
    column: 20,
  });
  t.end();
});

void t.test("what exists elsewhere is looked up, and warnings say so", (t) => {
  const missing = lintText(ROUTE, "f.yaml");
  t.strictSame(
    missing.map(({ severity, path, line }) => [severity, path, line]),
    [
      ["warning", "spec.parentRefs[0].name", 9],
      ["warning", "spec.rules[0].backendRefs[0].name", 15],
    ],
  );
  const [service] = lintTexts([{ file: "s.yaml", text: SERVICE }]).resources;
  const lookup = (): Resource | undefined => service?.resource;
  t.strictSame(lintText(ROUTE, "f.yaml", { lookup }), []);
  t.end();
});

void t.test("a namespace is filled in where the text has none", (t) => {
  const text = SERVICE.replace(", namespace: shop", "");
  const namespaceOf = (options?: { namespace: string }): string | undefined =>
    lintTexts([{ file: "f", text }], options).resources[0]?.resource.metadata
      .namespace;
  t.equal(namespaceOf(), "default");
  t.equal(namespaceOf({ namespace: "shop" }), "shop");
  t.end();
});

void t.test("text of a template is told as that, once", (t) => {
  const TEMPLATE = /^this is text of a template, such as those of Helm: render/;
  for (const [text, line, column] of [
    ["a: {{ .Values.x }}\n", 1, 5],
    ["metadata:\n  name: {{ .Release.Name }}-web\n", 2, 10],
    ["{{- if .Values.x }}\na: 1\n{{- end }}\n", 1, 3],
    ['a:\n  {{- include "labels" . | nindent 4 }}\n', 2, 5],
  ] as const) {
    const { problems } = parseDocuments(text, "f.yaml");
    t.match(problems, [{ line, column, message: TEMPLATE }], text);
    t.equal(problems.length, 1, text);
  }
  for (const text of ["{a: 1}: 3\n", "? [1]\n: 2\n"])
    t.match(parseDocuments(text, "f.yaml").problems, [
      { message: "a key is a mapping or a list: expected text" },
    ]);
  t.same(parseDocuments('a: "{{ .Values.x }}"\n', "f.yaml").problems, []);
  t.end();
});
