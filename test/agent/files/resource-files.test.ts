/** What did not change is neither parsed nor made again, and what is said of it names the line where it is now. */
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { lookAt } from "../../../src/agent/files/look.ts";
import type { LoadedFiles } from "../../../src/agent/files/check-files.ts";
import { ResourceFiles } from "../../../src/agent/files/resource-files.ts";
import type { ReceivedResources } from "../../../src/agent/staging.ts";
import { systemClock, type Clock } from "../../../src/core/clock.ts";
import {
  temporaryDirectory,
  type Scope,
} from "../../support/control-plane/push-control-plane.ts";
import { dice, seeded } from "../../support/resources/random-policy.ts";

const NONE: ReceivedResources = new Map();

function service(name: string, port = 80): string {
  return `apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: {name: ${name}, namespace: shop}
spec:
  ports: [{port: ${port}}]
  selector: {app: ${name}}
`;
}

function route(name: string, to: string, port = 80): string {
  return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: shop}
spec:
  parentRefs:
    - {kind: Service, group: mesh.wherry.dev, name: ${to}, port: ${port}}
  rules: [{backendRefs: [{name: ${to}, port: ${port}}]}]
`;
}

const many = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => service(`s${index}`));

interface Folder {
  readonly path: string;
  readonly write: (name: string, documents: readonly string[]) => Promise<void>;
  readonly load: (inForce?: ReceivedResources) => Promise<LoadedFiles>;
  readonly describe: ResourceFiles["describe"];
}

async function folder(t: Scope, clock: Clock = systemClock): Promise<Folder> {
  const path = join(await temporaryDirectory(t), "resources");
  await mkdir(path);
  const files = new ResourceFiles({ path, maxBytes: 1 << 20, clock });
  let writes = 0;
  return {
    path,
    async write(name, documents) {
      // By a rename, so that the file is another one however short the time.
      writes += 1;
      const beside = join(path, `.${writes}`);
      await writeFile(beside, documents.join("---\n"));
      await rename(beside, join(path, name));
    },
    async load(inForce = NONE) {
      const loaded = await files.load(await lookAt(files.list), inForce);
      if (loaded === undefined) throw new Error("they have changed");
      return loaded;
    },
    describe: (remarks) => files.describe(remarks),
  };
}

/** Names of the resources that are other objects than before, or gone. */
function changed(before: LoadedFiles, after: LoadedFiles): string[] {
  const names = new Set(
    [...before.resources, ...after.resources].map(([name]) => name),
  );
  return [...names].filter(
    (name) =>
      before.resources.get(name)?.resource !==
      after.resources.get(name)?.resource,
  );
}

void t.test(
  "a document whose text did not change is not parsed again",
  async (t) => {
    const { write, load } = await folder(t);
    await write("a.yaml", many(50));
    await write("b.yaml", [service("b")]);
    let before = await load();
    t.equal(before.resources.size, 51);
    for (const [what, file, documents, expected] of [
      [
        "one that is edited",
        "a.yaml",
        many(50).with(7, service("s7", 81)),
        ["s7"],
      ],
      ["back again", "a.yaml", many(50), ["s7"]],
      [
        "one more before them",
        "a.yaml",
        [service("new"), ...many(50)],
        ["new"],
      ],
      ["another order", "a.yaml", [...many(50).reverse(), service("new")], []],
      ["one less", "a.yaml", many(49), ["s49", "new"]],
      ["another file", "b.yaml", [service("b", 90)], ["b"]],
    ] as const) {
      await write(file, documents);
      // Nothing is in force: what is the same object was not made again.
      const after = await load(NONE);
      t.same(
        changed(before, after),
        expected.map((name) => `Service/shop/${name}`),
        what,
      );
      t.not(after.digest, before.digest);
      before = after;
    }
  },
);

void t.test("what moves to another file stays", async (t) => {
  const { path, write, load } = await folder(t);
  await write("a.yaml", many(10));
  const before = await load();
  await write("b.yaml", many(10).slice(5));
  await write("a.yaml", many(5));
  const split = await load();
  t.same(changed(before, split), []);
  await rename(join(path, "b.yaml"), join(path, "c.yaml"));
  t.same(changed(split, await load()), []);
});

void t.test(
  "what says the same in other words is the one in force",
  async (t) => {
    const { write, load } = await folder(t);
    await write("a.yaml", [service("x"), service("y")]);
    const before = await load();
    const x = service("x").replace("spec:", "# a comment\nspec:");
    await write("a.yaml", [x, service("y", 81)]);
    const after = await load(before.resources);
    t.same(changed(before, after), ["Service/shop/y"]);
    t.equal(
      after.resources.get("Service/shop/x"),
      before.resources.get("Service/shop/x"),
    );
  },
);

void t.test("problems are told with the line where they are now", async (t) => {
  const { path, write, load } = await folder(t);
  const file = join(path, "a.yaml");
  await write("a.yaml", [service("x"), route("r", "x")]);
  t.same((await load()).remarks, []);
  await write("a.yaml", ["# one\n# two\n", service("x", 81), route("r", "x")]);
  await t.rejects(load(), {
    name: "UserError",
    message: `${file}:16:62: error: spec.parentRefs[0].port: Service shop/x has no port 80; it declares 81
${file}:17:42: error: spec.rules[0].backendRefs[0].port: Service shop/x has no port 80; it declares 81`,
  });
  await write("a.yaml", [service("x"), service("y"), service("x", 9)]);
  await t.rejects(load(), {
    message: `${file}:17:18: error: metadata.name: Service shop/x is in ${file}:1 already`,
  });
  await write("a.yaml", [service("x"), service("y"), "kind: [\n"]);
  await t.rejects(load(), { message: /a\.yaml:1[67]:\d+: error: / });
  await write("a.yaml", [service("x"), service("y").replace("spec:", "sepc:")]);
  await t.rejects(load(), { message: /a\.yaml:11:1: error: sepc: unknown/ });
  await write(
    "a.yaml",
    many(30).map((text) => text.replace("selector", "s")),
  );
  await t.rejects(load(), {
    message: /^(?:.*a\.yaml:\d+:3: error: spec\.s: .*\n){20}and 10 more$/,
  });
  await write("a.yaml", [service("x"), route("r", "x")]);
  t.same((await load()).remarks, [], "and all is well again");
});

void t.test("a resource in two files is told of by both", async (t) => {
  const { path, write, load } = await folder(t);
  await write("a.yaml", ["# one\n", service("x")]);
  await write("b.yaml", [service("x")]);
  await t.rejects(load(), {
    message: `${join(path, "b.yaml")}:3:18: error: metadata.name: Service shop/x is in ${join(path, "a.yaml")}:3 already`,
  });
});

void t.test(
  "warnings name the line, also where the file has gone",
  async (t) => {
    const { path, write, load, describe } = await folder(t);
    await write("a.yaml", [service("x"), route("r", "nobody")]);
    const { remarks } = await load();
    t.match(await describe(remarks), [
      /a\.yaml:13:53: warning: spec\.parentRefs\[0\]\.name: there is no Service shop\/nobody yet/,
      /a\.yaml:14:33: warning: spec\.rules\[0\]\.backendRefs\[0\]\.name: there is no/,
    ]);
    await rm(join(path, "a.yaml"));
    t.match(await describe(remarks), [
      /a\.yaml:1:1: warning: /,
      /a\.yaml:1:1: warning: /,
    ]);
  },
);

void t.test(
  "what is said after each of many edits is what is said of the files as they are",
  async (t) => {
    const { path, write, load, describe } = await folder(t);
    const { pick, chance } = dice(seeded(5));
    const names = ["a", "b", "c", "d"];
    const regular = (name: string): string =>
      route(`${name}-regular`, name).replace(
        "rules: [{",
        "rules: [{matches: [{path: {type: RegularExpression, value: /x}}], ",
      );
    let told = 0;
    for (let round = 0; round < 60; round += 1) {
      const name = pick(names);
      await write(`${name}.yaml`, [
        ...(chance(0.7) ? [service(name)] : []),
        ...(chance(0.5) ? [route(name, pick(names))] : []),
        ...(chance(0.5)
          ? [regular(pick(names)).replace("-r", `-${name}`)]
          : []),
        service(`own-${name}`, chance(0.5) ? 80 : 81),
      ]);
      const { remarks, resources, digest } = await load();
      const fresh = new ResourceFiles({
        path,
        maxBytes: 1 << 20,
        clock: systemClock,
      });
      const anew = await fresh.load(await lookAt(fresh.list), NONE);
      const lines = await describe(remarks);
      t.same(lines, await fresh.describe(anew?.remarks ?? []));
      t.equal(digest, anew?.digest);
      t.same(
        [...resources].map(([key, { resource }]) => [key, resource]).sort(),
        [...(anew?.resources ?? [])]
          .map(([key, { resource }]) => [key, resource])
          .sort(),
      );
      told += lines.length;
      await fresh.close();
    }
    t.ok(told > 60, `${told} remarks`);
  },
);

void t.test(
  "a resource that comes a second time is refused, and taken where the first one goes",
  async (t) => {
    const { write, load } = await folder(t);
    await write("a.yaml", [service("one"), service("two")]);
    await load();
    await write("b.yaml", [service("one", 81)]);
    await t.rejects(load(), { message: /one is in .*a\.yaml:1 already/ });
    await write("a.yaml", [service("two")]);
    const { resources } = await load();
    t.match(resources.get("Service/shop/one")?.resource.spec, {
      ports: [{ port: 81 }],
    });
    t.equal(resources.size, 2);
  },
);

void t.test("a look that finds all as it was is the look before", async (t) => {
  const { path, write } = await folder(t);
  const files = new ResourceFiles({
    path,
    maxBytes: 1 << 20,
    clock: systemClock,
  });
  await write("a.yaml", many(1));
  await write("b.yaml", [service("b")]);
  const first = await lookAt(files.list);
  t.equal(await lookAt(files.list, first), first);
  await write("b.yaml", [service("b", 81)]);
  const second = await lookAt(files.list, first);
  t.not(second, first);
  const [a = "", b = ""] = second.keys();
  t.equal(second.get(a), first.get(a));
  t.not(second.get(b)?.signature, first.get(b)?.signature);
  await write("0.yaml", [service("c")]);
  const third = await lookAt(files.list, second);
  t.same([...third.keys()], [join(path, "0.yaml"), a, b]);
  await rm(b);
  t.same(
    [...(await lookAt(files.list, third)).keys()],
    [join(path, "0.yaml"), a],
  );
  await rm(path, { recursive: true });
  t.equal((await lookAt(files.list, third)).size, 0);
});

void t.test(
  "files that change after they were looked at are not used",
  async (t) => {
    const { path, write } = await folder(t);
    await write("a.yaml", many(3));
    await write("b.yaml", [service("b")]);
    const files = new ResourceFiles({
      path,
      maxBytes: 1 << 20,
      clock: systemClock,
    });
    const look = await lookAt(files.list);
    await write("b.yaml", [service("c")]);
    t.equal(await files.load(look, NONE), undefined);
    await rm(join(path, "b.yaml"));
    await t.rejects(files.load(look, NONE), {
      message: /cannot be read: ENOENT/,
    });
    t.equal(
      (await files.load(await lookAt(files.list), NONE))?.resources.size,
      3,
    );
  },
);

void t.test("many documents are parsed and checked in slices", async (t) => {
  let now = 0;
  // Time goes on by itself, as it does where there is work.
  const clock: Clock = { ...systemClock, now: () => (now += 0.1) };
  const { write, load } = await folder(t, clock);
  await write("a.yaml", many(400));
  let turns = 0;
  let counting = true;
  const count = (): void => {
    turns += 1;
    if (counting) setImmediate(count);
  };
  setImmediate(count);
  await load();
  const first = turns;
  await write("a.yaml", many(400).with(3, service("s3", 81)));
  await load();
  counting = false;
  t.ok(first > 40, `${first} turns of the event loop`);
  t.ok(turns - first > 40, `${turns - first} turns for an edit`);
});

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

void t.test(
  "a large document is parsed beside the event loop, and says the same",
  async (t) => {
    const { path, write, load, describe } = await folder(t);
    let threads = 0;
    const onThread = (): void => {
      threads += 1;
    };
    process.on("worker", onThread);
    t.teardown(() => process.off("worker", onThread));
    await write("a.yaml", [list(many(300))]);
    const before = await load();
    t.equal(before.resources.size, 300);
    const inForce = before.resources;
    await write("a.yaml", [list(many(300).with(8, service("s8", 81)))]);
    const after = await load(inForce);
    t.same(changed(before, after), ["Service/shop/s8"]);
    t.same([...after.resources.keys()], [...before.resources.keys()]);
    t.same(after.resources.get("Service/shop/s8")?.resource.spec, {
      ports: [{ port: 81 }],
      selector: { app: "s8" },
    });
    t.equal(threads, 1, "the first start has nothing to hold up");

    const bad = service("s250").replace("selector", "sel");
    await write("a.yaml", ["# one\n", list(many(300).with(250, bad))]);
    await t.rejects(load(inForce), {
      message: /^[^\n]*a\.yaml:1510:5: error: spec\.sel: unknown field[^\n]*$/,
    });
    const routes = Array.from({ length: 250 }, (_, index) =>
      route(`r${index}`, "nobody"),
    );
    await write("a.yaml", [list(routes)]);
    const { remarks } = await load(inForce);
    t.equal(remarks.length, 500, "two of each");
    const lines = await describe(remarks);
    t.match(lines[19], /a\.yaml:\d+:\d+: warning: .*no Service shop\/nobody/);
    t.match(lines[20], "and 480 more");
    await rm(join(path, "a.yaml"));
  },
);
