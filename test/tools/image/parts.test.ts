// What an image is made of: the libraries of its programs, the list of its parts, and the Dockerfile that says the same.
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import t from "tap";
import { CHECKOUT, RUNTIME } from "../../../src/tools/image/config.ts";
import {
  librariesFromLdd,
  librariesOf,
} from "../../../src/tools/image/libraries.ts";
import { narrow } from "../../../src/tools/image/sbom.ts";

void t.test("libraries of what ldd prints", (t) => {
  const printed = `	linux-vdso.so.1 (0x00007fa5e6727000)
	libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fa5e6627000)
	/lib64/ld-linux-x86-64.so.2 (0x00007fa5e6729000)
`;
  t.same(librariesFromLdd("program", printed), [
    "/lib/x86_64-linux-gnu/libm.so.6",
    "/lib64/ld-linux-x86-64.so.2",
  ]);
  t.same(librariesFromLdd("program", "	statically linked\n"), []);
  t.throws(
    () => librariesFromLdd("program", "	libz.so.1 => not found\n"),
    new Error(
      "program needs libz.so.1, which this machine has not got: install it",
    ),
  );
  t.end();
});

void t.test("libraries of the Node that runs this", (t) => {
  const paths = librariesOf([process.execPath, process.execPath]).map(
    ({ path }) => path,
  );
  t.ok(
    paths.some((path) => /\/libc\.so/.test(path)),
    paths.join(" "),
  );
  t.equal(new Set(paths).size, paths.length);
  t.end();
});

void t.test("each library has its package of Debian", (t) => {
  const dpkg = spawnSync("dpkg-query", ["--version"]);
  if (dpkg.status !== 0) {
    t.comment("this machine has no dpkg");
    t.end();
    return;
  }
  const libraries = librariesOf([process.execPath], [import.meta.filename]);
  for (const { path, package: owner } of libraries)
    if (path === import.meta.filename) t.equal(owner, undefined);
    else {
      const said = execFileSync(
        "dpkg-query",
        ["--show", "--showformat=${Version}", owner?.name ?? path],
        { encoding: "utf8" },
      );
      t.equal(owner?.version, said, path);
    }
  t.end();
});

void t.test("the list of parts holds what the image holds", (t) => {
  const component = (name: string) =>
    ({
      "bom-ref": `${name}@1.0.0`,
      type: "library",
      name,
      version: "1.0.0",
    }) as const;
  const all = {
    specVersion: "1.5",
    metadata: {
      component: { ...component("wherry"), name: "the-folder" },
    },
    components: [component("used"), component("unused")],
    dependencies: [
      { ref: "wherry@1.0.0", dependsOn: ["used@1.0.0", "unused@1.0.0"] },
      { ref: "used@1.0.0" },
      { ref: "unused@1.0.0" },
    ],
  };
  const list = narrow(all, new Set(["used@1.0.0"]), [component("libc6")]);
  t.equal(list.metadata.component.name, "wherry");
  t.same(
    list.components.map(({ name }) => name),
    ["used", "libc6"],
  );
  t.same(list.dependencies, [
    { ref: "wherry@1.0.0", dependsOn: ["used@1.0.0"] },
    { ref: "used@1.0.0", dependsOn: [] },
  ]);
  t.throws(
    () => narrow(all, new Set(["used@2.0.0"]), []),
    /npm does not know of used@2\.0\.0/,
  );
  t.end();
});

void t.test("the Dockerfile says the same of the image", (t) => {
  const text = readFileSync(`${CHECKOUT}config/docker/Dockerfile`, "utf8");
  const last = text.slice(text.lastIndexOf("\nFROM "));
  const said = (word: string): string[] =>
    last
      .split("\n")
      .filter((line) => line.startsWith(`${word} `))
      .map((line) => line.slice(word.length + 1));
  t.same(said("FROM"), ["scratch"]);
  t.same(said("USER"), [RUNTIME.User]);
  t.same(said("ENV"), RUNTIME.Env);
  t.same(said("WORKDIR"), [RUNTIME.WorkingDir]);
  t.same(said("STOPSIGNAL"), [RUNTIME.StopSignal]);
  t.same(said("EXPOSE"), [Object.keys(RUNTIME.ExposedPorts ?? {}).join(" ")]);
  t.same(
    said("ENTRYPOINT").map((each) => JSON.parse(each) as unknown),
    [RUNTIME.Entrypoint],
  );
  t.end();
});
