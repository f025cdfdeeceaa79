/** What resource files hold: what is new of it, what has gone, and what is wrong, with the line where it is. */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { listResources, lookAt } from "../../../src/agent/files/look.ts";
import { readInThread } from "../../../src/agent/files/read-in-thread.ts";
import {
  readResources,
  type ReadFiles,
  type ReadRequest,
} from "../../../src/agent/files/read-resources.ts";
import {
  temporaryDirectory,
  type Scope,
} from "../../support/control-plane/push-control-plane.ts";

function service(name: string, port = 80): string {
  return `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: {name: ${name}, namespace: shop}
spec:
  ports: [{port: ${port}}]
  selector: {app: ${name}}
`;
}

function route(name: string, to: string): string {
  return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: shop}
spec:
  parentRefs:
    - {kind: Service, group: mesh.wherry.dev, name: ${to}, port: 80}
  rules: [{backendRefs: [{name: ${to}, port: 80}]}]
`;
}

/** What `get -o yaml` prints of many. */
function list(documents: readonly string[]): string {
  const items = documents.map((text) =>
    text
      .trimEnd()
      .split("\n")
      .map((line, index) => `${index === 0 ? "- " : "  "}${line}\n`)
      .join(""),
  );
  return `kind: List\nitems:\n${items.join("")}`;
}

const many = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => service(`s${index}`));

interface Folder {
  readonly path: string;
  readonly write: (name: string, documents: readonly string[]) => Promise<void>;
  readonly read: (before?: ReadFiles) => ReturnType<typeof readResources>;
}

async function folder(t: Scope): Promise<Folder> {
  const path = join(await temporaryDirectory(t), "resources");
  await mkdir(path);
  return {
    path,
    write: (name, documents) =>
      writeFile(join(path, name), documents.join("---\n")),
    read: async (before) => readResources(await requestFor(path, before)),
  };
}

async function requestFor(
  path: string,
  before?: ReadFiles,
): Promise<ReadRequest> {
  const { signature } = await lookAt(() => listResources(path));
  const known = before?.changed ?? [];
  const inForce = new Map(known.map(({ name, digest }) => [name, digest]));
  const wall = Date.now();
  return { path, signature, maxBytes: 1 << 20, wall, inForce };
}

async function found(read: ReturnType<Folder["read"]>): Promise<ReadFiles> {
  const result = await read;
  if (result.kind !== "read") throw new Error(JSON.stringify(result));
  return result.files;
}

void t.test("what says the same as before is not told again", async (t) => {
  const { write, read } = await folder(t);
  await write("a.yaml", many(50));
  await write("b.json", [JSON.stringify({ kind: "List", items: [] })]);
  await write(".hidden.yaml", ["["]);
  await write("notes.txt", ["["]);
  const first = await found(read());
  t.equal(first.changed.length, 50);
  t.same([...first.counts.values()], [50, 0]);
  for (const [what, documents, changed, removed] of [
    ["an edit", many(50).with(7, service("s7", 81)), ["s7"], []],
    ["one more before them", [service("new"), ...many(50)], ["new"], []],
    ["another order", many(50).reverse(), [], []],
    ["a list of them", [list(many(50))], [], []],
    ["one less", many(49), [], ["s49"]],
  ] as const) {
    await write("a.yaml", documents);
    const after = await found(read(first));
    t.same(
      after.changed.map(({ name }) => name),
      changed.map((name) => `Service/shop/${name}`),
      what,
    );
    t.same(
      after.removed,
      removed.map((name) => `Service/shop/${name}`),
      what,
    );
  }
});

void t.test("what is wrong is told with file, line and column", async (t) => {
  const { path, write, read } = await folder(t);
  for (const [documents, reason] of [
    [[service("x"), "kind: [\n"], /a\.yaml:[89]:\d+: error: /],
    [
      [service("x"), service("y").replace("spec:", "sepc:")],
      /a\.yaml:11:1: error: sepc: unknown/,
    ],
    [
      many(30).map((text) => text.replace("selector", "s")),
      /^(?:.*a\.yaml:\d+:3: error: spec\.s: .*\n){20}and 10 more$/,
    ],
  ] as const) {
    await write("a.yaml", documents);
    t.match(await read(), { kind: "unusable", reason });
  }
  await write("a.yaml", ["# one\n", service("x")]);
  await write("b.yaml", [service("x")]);
  t.match(await read(), {
    kind: "unusable",
    reason: `${join(path, "b.yaml")}:3:18: error: metadata.name: Service shop/x is in ${join(path, "a.yaml")}:3 already`,
  });
  await rm(join(path, "b.yaml"));
  await write("a.yaml", [service("x"), route("r", "nobody")]);
  t.match((await found(read())).warnings, [
    /a\.yaml:13:53: warning: spec\.parentRefs\[0\]\.name: there is no Service shop\/nobody yet/,
    /a\.yaml:14:33: warning: spec\.rules\[0\]\.backendRefs\[0\]\.name: there is no/,
  ]);
});

void t.test("a thread reads the same, within its memory", async (t) => {
  const { path, write, read } = await folder(t);
  await write("a.yaml", [...many(3), route("r", "nobody")]);
  const { signal } = new AbortController();
  const request = await requestFor(path);
  t.same(await readInThread(request, signal), await read());
  await write("a.yaml", [list(many(4000))]);
  t.same(await readInThread(request, signal), { kind: "changed" });
  const large = await requestFor(path);
  t.match(await readInThread(large, signal, 16), {
    kind: "unusable",
    reason: /takes more than 16 MiB of memory/,
  });
  const stop = new AbortController();
  const stopped = readInThread(large, stop.signal);
  stop.abort();
  t.match(await stopped, { kind: "unusable", reason: /thread ended/ });
});
