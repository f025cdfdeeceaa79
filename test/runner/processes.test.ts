/** Test files as processes of plain Node: what is counted, what is told of a failure, and which files do not begin or are ended early. */
import { writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { newEnvironment } from "../support/processes/demo.ts";
import {
  runFiles,
  type FileResult,
  type RunOptions,
} from "../support/runner/processes.ts";
import { NOTHING } from "../support/runner/tap-text.ts";

const TAP = JSON.stringify(import.meta.resolve("tap"));
/** A file that ends once the other has begun as well. */
const meets = (own: string, other: string): string =>
  `import t from ${TAP}; import { existsSync, writeFileSync } from "node:fs"; writeFileSync("${own}", ""); t.test("both run", async (t) => { while (!existsSync("${other}")) await new Promise((resolve) => setTimeout(resolve, 10)); t.pass(); });`;
const FILES: Readonly<Record<string, string>> = {
  "good.js": `import t from ${TAP}; t.test("two", (t) => { t.ok(1); t.ok(2); t.end(); }); t.skip("later");`,
  "bad.js": `import t from ${TAP}; t.ok(1); t.equal(1, 2, "one is two"); console.error("seen on the way");`,
  "dies.js": `import t from ${TAP}; t.ok(1); process.kill(process.pid, "SIGKILL");`,
  "throws.js": `throw new Error("before any test");`,
  "later.js": `import t from ${TAP}; t.test("throws later", (t) => { t.ok(1); setTimeout(() => { throw new Error("in a timer"); }); });`,
  "rejects.js": `import t from ${TAP}; t.ok(1); t.test("nobody waits", (t) => { t.ok(1); void Promise.reject(new Error("of a promise")); setTimeout(() => t.end(), 50); });`,
  "behind.js": `import t from ${TAP}; t.test("ends before", (t) => { setImmediate(() => { throw new Error("behind its end"); }); t.end(); }); t.test("second", (t) => { setTimeout(() => t.end(), 50); });`,
  "parent.js": `import t from ${TAP}; import { spawn } from "node:child_process"; t.equal(1, 2, "one is two"); spawn(process.execPath, ["-e", "net.connect(process.env.PORT)"], { stdio: "ignore" }); t.test("never", () => new Promise(() => setInterval(() => {}, 1000)));`,
  "hangs.js": `import t from ${TAP}; t.test("never", () => new Promise(() => setInterval(() => {}, 1000)));`,
  "waits.js": meets("waits", "beside"),
  "beside.js": meets("beside", "waits"),
};

async function run(
  t: Test,
  files: readonly string[],
  options: Partial<RunOptions> = {},
): Promise<FileResult[]> {
  const root = t.testdir();
  for (const [file, text] of Object.entries(FILES))
    writeFileSync(join(root, file), text);
  const results: FileResult[] = [];
  await runFiles(files, {
    root,
    // As from a shell: this file may itself run under tap.
    envOf: () => newEnvironment(),
    jobs: 1,
    // Nothing that ends by itself is to meet it, however busy the machine is.
    timeout: 60,
    ...options,
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
  "later.js": /in a timer[^]*ended with 1/,
  "rejects.js": /of a promise[^]*ended with 1/,
  "behind.js": /behind its end[^]*ended with 1/,
  "hangs.js": /ended with SIGKILL/,
}))
  void t.test(
    `${file}: a file that does not end well has failed`,
    async (t) => {
      const [result] = await run(
        t,
        [file],
        file === "hangs.js" ? { timeout: 2, grace: 1 } : {},
      );
      t.ok(result !== undefined && result.counts.failed > 0);
      t.match(result?.detail, detail);
    },
  );

void t.test("each file is run once, but for those without time", async (t) => {
  const files = ["bad.js", "good.js", "throws.js"];
  const all = await run(t, files, { jobs: 2 });
  t.strictSame(all.map(({ file }) => file).sort(), files);
  const some = await run(t, files, {
    endOf: (file) => (file === "bad.js" ? AbortSignal.abort() : undefined),
  });
  t.strictSame(some.map(({ file }) => file).sort(), ["good.js", "throws.js"]);
});

void t.test("a file that is ended early has not failed", async (t) => {
  const [result] = await run(t, ["hangs.js"], {
    endOf: () => AbortSignal.timeout(1),
  });
  t.match(result, { cut: true, counts: NOTHING, detail: "" });
});

void t.test(
  "what had failed before the end is told, and nothing that was started stays",
  async (t) => {
    const end = new AbortController();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, resolve));
    t.teardown(() => server.close());
    const gone = new Promise<void>((resolve) =>
      server.once("connection", (socket) => {
        socket.resume().once("close", () => resolve());
        end.abort();
      }),
    );
    const { port } = server.address() as AddressInfo;
    const [result] = await run(t, ["parent.js"], {
      envOf: () => newEnvironment({ PORT: String(port) }),
      endOf: () => end.signal,
    });
    t.match(result, {
      cut: true,
      counts: { passed: 0, failed: 1, skipped: 0 },
      detail: /not ok 1 - one is two/,
    });
    await gone;
  },
);

void t.test("a file that waits runs beside the others", async (t) => {
  const results = await run(t, ["waits.js", "beside.js"], {
    waits: (file) => file === "waits.js",
  });
  t.strictSame(
    results.map(({ counts }) => counts),
    [0, 1].map(() => ({ passed: 1, failed: 0, skipped: 0 })),
  );
});
