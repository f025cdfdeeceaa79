/** Test files as processes of plain Node: what is counted, what is told of a failure, and when no further file begins. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { cleanEnvironment } from "../support/demo.ts";
import { runFiles, type FileResult } from "../support/runner/processes.ts";

const TAP = JSON.stringify(import.meta.resolve("tap"));
const FILES: Readonly<Record<string, string>> = {
  "good.js": `import t from ${TAP}; t.test("two", (t) => { t.ok(1); t.ok(2); t.end(); }); t.skip("later");`,
  "bad.js": `import t from ${TAP}; t.ok(1); t.equal(1, 2, "one is two"); console.error("seen on the way");`,
  "dies.js": `import t from ${TAP}; t.ok(1); process.kill(process.pid, "SIGKILL");`,
  "throws.js": `throw new Error("before any test");`,
  "hangs.js": `import t from ${TAP}; t.test("never", () => new Promise(() => setInterval(() => {}, 1000)));`,
};

async function run(
  t: Test,
  files: readonly string[],
  jobs = 1,
  goOn?: (file: string) => boolean,
): Promise<FileResult[]> {
  const root = t.testdir();
  for (const [file, text] of Object.entries(FILES))
    writeFileSync(join(root, file), text);
  const results: FileResult[] = [];
  await runFiles(files, {
    root,
    // As from a shell: this file may itself run under tap.
    env: cleanEnvironment(),
    jobs,
    timeout: 2,
    grace: 1,
    ...(goOn === undefined ? {} : { goOn }),
    onResult: (result) => results.push(result),
  });
  return results;
}

void t.test("passed and skipped assertions are counted", async (t) => {
  const [result] = await run(t, ["good.js"]);
  t.strictSame(result?.counts, { passed: 2, failed: 0, skipped: 1 });
  t.equal(result?.detail, "");
});

void t.test("a failure comes with what tap says of it", async (t) => {
  const [result] = await run(t, ["bad.js"]);
  t.strictSame(result?.counts, { passed: 1, failed: 1, skipped: 0 });
  t.match(result?.detail, /not ok 2 - one is two\n[^]*seen on the way/);
});

for (const [file, detail] of Object.entries({
  "dies.js": /ended with SIGKILL/,
  "throws.js": /before any test[^]*ended with 1/,
  "hangs.js": /ended with SIGKILL/,
}))
  void t.test(
    `${file}: a file that does not end well has failed`,
    async (t) => {
      const [result] = await run(t, [file]);
      t.ok(result !== undefined && result.counts.failed > 0);
      t.match(result?.detail, detail);
    },
  );

void t.test("each file is run once, and none after the word", async (t) => {
  const files = ["good.js", "bad.js", "throws.js"];
  const all = await run(t, files, 2);
  t.strictSame(all.map(({ file }) => file).sort(), [...files].sort());
  const some = await run(t, files, 2, (file) => file === "good.js");
  t.strictSame(
    some.map(({ file }) => file),
    ["good.js"],
  );
});
