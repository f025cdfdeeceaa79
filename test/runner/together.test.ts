/** Test files that share a process: each has its own result, and none that depends on the others. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { newEnvironment } from "../support/processes/demo.ts";
import { runFiles, type FileResult } from "../support/runner/processes.ts";
import { groupsOf } from "../support/runner/together.ts";

const FILES: Readonly<Record<string, string>> = {
  "first.js": `t.test("two", (t) => { t.ok(1); t.ok(2); t.end(); }); globalThis.first = process.pid; t.teardown(() => { globalThis.first = process.pid; });`,
  "second.js": `t.ok(globalThis.first === undefined || globalThis.first === process.pid); t.skip("later");`,
  "together.js": `t.equal(globalThis.first, process.pid);`,
  "touchy.js": `t.equal(globalThis.first, undefined);`,
  "bad.js": `t.ok(1); t.equal(1, 2, "one is two");`,
  "exits.js": `t.test("never", () => { process.exit(0); });`,
  "dies.js": `t.ok(1); process.kill(process.pid, "SIGKILL");`,
  "throws.js": `throw new Error("before any test");`,
  "behind.js": `setTimeout(() => { throw new Error("behind its end"); }, 50); t.test("ends before", (t) => t.end());`,
  "waits.js": `t.test("a while", (t) => { setTimeout(() => t.end(), 200); });`,
  "goes.js": `process.chdir("/"); t.ok(1);`,
  "here.js": `t.equal(process.cwd(), import.meta.dirname);`,
  "stays.js": `t.ok(1); if (globalThis.first !== undefined) setInterval(() => {}, 1000);`,
};

interface Ran {
  readonly results: readonly FileResult[];
  /** What was told of files that ran again. */
  readonly apart: unknown[][];
}

async function run(t: Test, ...files: string[]): Promise<Ran> {
  const root = t.testdir();
  for (const [file, text] of Object.entries(FILES))
    writeFileSync(join(root, file), `import t from "tap"; ${text}`);
  const results: FileResult[] = [];
  const apart: unknown[][] = [];
  await runFiles(files, {
    root,
    nodeArgs: [
      "--import",
      import.meta.resolve("../support/runner/use-bundles.ts"),
    ],
    envOf: () => newEnvironment(),
    jobs: 1,
    // What ends by itself is not to meet it, however busy the machine is; the one that stays is waited for.
    timeout: files.includes("stays.js") ? 9 : 60,
    grace: 1,
    mayShare: () => true,
    onResult: (result) => results.push(result),
    onApart: (...told) => apart.push(told),
  });
  t.strictSame(
    results.map(({ file }) => file),
    files,
  );
  return { results, apart };
}

void t.test("what each file has counted is told of it", async (t) => {
  const { results, apart } = await run(t, "first.js", "second.js");
  t.strictSame(apart, []);
  t.strictSame(
    results.map(({ counts }) => counts),
    [
      { passed: 2, failed: 0, skipped: 0 },
      { passed: 1, failed: 0, skipped: 1 },
    ],
  );
  t.strictSame(
    results.map(({ detail }) => detail),
    ["", ""],
  );
});

void t.test("each begins in the same folder", async (t) => {
  const { results, apart } = await run(t, "goes.js", "here.js");
  t.strictSame(apart, []);
  t.strictSame(
    results.map(({ counts }) => counts.failed),
    [0, 0],
  );
});

void t.test("they do share it: alone the second would fail", async (t) => {
  const { results } = await run(t, "first.js", "together.js");
  t.strictSame(
    results.map(({ counts }) => counts.failed),
    [0, 0],
  );
});

/** Beside first.js, which leaves a global behind: how many have failed, what is said of it, and which of the three were not well together. */
for (const { file, failed, detail = /^$/, unwell } of [
  { file: "touchy.js", failed: 0, unwell: ["touchy.js"] },
  { file: "stays.js", failed: 0, unwell: [] },
  {
    ...{ file: "bad.js", failed: 1, unwell: ["bad.js"] },
    detail: /not ok 2 - one is two/,
  },
  {
    ...{ file: "exits.js", failed: 1, unwell: ["exits.js", "waits.js"] },
    detail: /not ok/,
  },
  {
    ...{ file: "dies.js", failed: 1, unwell: ["dies.js", "waits.js"] },
    detail: /ended with SIGKILL/,
  },
  {
    ...{ file: "throws.js", failed: 1, unwell: ["throws.js"] },
    detail: /before any test/,
  },
  {
    ...{ file: "behind.js", failed: 1, unwell: undefined },
    detail: /behind its end/,
  },
])
  void t.test(`${file} gets the result that it has alone`, async (t) => {
    const files = ["first.js", file, "waits.js"];
    const { results, apart } = await run(t, ...files);
    const [first, its, last] = results;
    t.equal(its?.counts.failed, failed);
    t.match(its?.detail, detail);
    for (const other of [first, last])
      t.match(other, { counts: { failed: 0 }, detail: "" });
    const [[together, notWell, how] = []] = apart;
    t.strictSame(together, files);
    if (failed > 0 && file !== "dies.js") t.match(how, detail);
    if (unwell !== undefined) t.strictSame(notWell, unwell);
  });

void t.test("groups keep the order and leave out what may not share", (t) => {
  const files = Array.from({ length: 45 }, (_, index) => `${index}.test.ts`);
  const groups = groupsOf(files, (file) => file !== "3.test.ts");
  t.strictSame(groups.flat().toSorted(), files.toSorted());
  t.strictSame(
    groups.filter((group) => group.includes("3.test.ts")),
    [["3.test.ts"]],
  );
  t.strictSame(
    groups.map(({ length }) => length),
    [20, 1, 20, 4],
  );
  t.end();
});
