/** The unit tests that `npm run test:fast` chooses, in a small checkout of its own. */
import { execFileSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import { changedSince, testsReaching } from "../support/runner/changed.ts";

const FILES: Readonly<Record<string, string>> = {
  "src/policy/patience.ts": "",
  "src/policy/types.ts": "",
  "src/proxy/outbound.ts": 'import { patience } from "../policy/patience.ts";',
  "src/proxy/worker.ts":
    'new Worker(new URL("./outbound.ts", import.meta.url));',
  "src/cli/run.ts": 'const run = await import("../proxy/worker.ts");',
  "src/proxy/shape.ts":
    'import type { Patience } from "../policy/patience.ts";',
  "bench/main.ts": "",
  "test/cli/run.test.ts": 'import "../../src/cli/run.ts";',
  "test/policy/patience.test.ts": 'import "../../src/policy/patience.ts";',
  "test/policy/storm.test.ts": 'import "../../src/proxy/outbound.ts";',
  "test/control/near.test.ts": 'import "../../src/proxy/outbound.ts";',
  "test/proxy/shape.test.ts": 'import "../../src/proxy/shape.ts";',
  "test/e2e/whole.test.ts": 'import "../../src/policy/patience.ts";',
  "test/hostile/flood.test.ts": 'import "../../src/policy/patience.ts";',
};

async function checkout(t: Test): Promise<string> {
  const root = t.testdir();
  for (const [file, text] of Object.entries(FILES)) {
    await mkdir(join(root, dirname(file)), { recursive: true });
    await writeFile(join(root, file), text);
  }
  return root;
}

function git(root: string, ...args: string[]): void {
  const who = ["-c", "user.name=A", "-c", "user.email=a@example.com"];
  execFileSync("git", [...who, ...args], { cwd: root, stdio: "pipe" });
}

void t.test("nearest first, then the changed file's own folder", async (t) => {
  const root = await checkout(t);
  t.strictSame(testsReaching(root, ["src/policy/patience.ts"]), [
    { test: "test/policy/patience.test.ts", distance: 1 },
    { test: "test/policy/storm.test.ts", distance: 2 },
    { test: "test/control/near.test.ts", distance: 2 },
    { test: "test/cli/run.test.ts", distance: 4 },
  ]);
});

void t.test("a test that changed itself is reached", async (t) => {
  const root = await checkout(t);
  t.strictSame(testsReaching(root, ["test/proxy/shape.test.ts", "README.md"]), [
    { test: "test/proxy/shape.test.ts", distance: 0 },
  ]);
});

void t.test(
  "a test that was removed, or whole processes, are not",
  async (t) => {
    const root = await checkout(t);
    const changed = ["test/proxy/gone.test.ts", "test/e2e/whole.test.ts"];
    t.strictSame(testsReaching(root, changed), []);
  },
);

void t.test("changes are counted from where the branch left", async (t) => {
  const root = await checkout(t);
  git(root, "init", "--quiet", "--initial-branch=main");
  git(root, "add", ".");
  git(root, "commit", "--quiet", "--message=first");
  git(root, "checkout", "--quiet", "-b", "topic");
  await writeFile(join(root, "src/policy/types.ts"), "export {};");
  git(root, "commit", "--quiet", "--all", "--message=on the branch");
  git(root, "checkout", "--quiet", "main");
  await writeFile(join(root, "bench/main.ts"), "export {};");
  git(root, "commit", "--quiet", "--all", "--message=on main, after it");
  git(root, "checkout", "--quiet", "topic");
  await writeFile(join(root, "src/cli/run.ts"), "export {};");
  await writeFile(join(root, "src/cli/new.ts"), "export {};");
  t.strictSame(changedSince(root, "main"), [
    "src/cli/new.ts",
    "src/cli/run.ts",
    "src/policy/types.ts",
  ]);
});
