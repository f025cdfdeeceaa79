/** A check that has passed does not run again while nothing that it may read has changed. */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Unchanged } from "../support/runner/unchanged.ts";

const NAME = "types and lint";

function checkout(t: Test): { root: string; file: string } {
  const root = t.testdir({
    ".gitignore": "node_modules/\n",
    "a.ts": "a",
    "b.ts": "b",
    node_modules: { ".package-lock.json": "{}" },
  });
  execFileSync("git", ["init", "-q"], { cwd: root });
  execFileSync("git", ["add", "."], { cwd: root });
  return { root, file: join(root, "node_modules", ".cache", "checks.json") };
}

void t.test(
  "what has passed is kept for the content that it passed on",
  (t) => {
    const { root, file } = checkout(t);
    const unchanged = new Unchanged(root, file);
    const digest = unchanged.digest();
    t.notOk(unchanged.has(NAME, digest), "nothing is known");
    unchanged.passed(NAME, digest);
    const next = new Unchanged(root, file);
    t.ok(next.has(NAME, next.digest()));
    t.notOk(next.has("format", next.digest()), "another check");
    t.end();
  },
);

const CHANGES: Record<string, (root: string) => void> = {
  "a file has another text": (root) => writeFileSync(join(root, "a.ts"), "A"),
  "a file is new": (root) => writeFileSync(join(root, "c.ts"), ""),
  "a file has another name": (root) => {
    rmSync(join(root, "b.ts"));
    writeFileSync(join(root, "c.ts"), "b");
  },
  "a file is gone": (root) => rmSync(join(root, "b.ts")),
  "text went from one file to the next": (root) => {
    writeFileSync(join(root, "a.ts"), "");
    writeFileSync(join(root, "b.ts"), "ab");
  },
  "another package is installed": (root) =>
    writeFileSync(join(root, "node_modules/.package-lock.json"), "{ }"),
};
for (const [what, change] of Object.entries(CHANGES))
  void t.test(`not where ${what}`, (t) => {
    const { root, file } = checkout(t);
    const unchanged = new Unchanged(root, file);
    const before = unchanged.digest();
    change(root);
    t.not(unchanged.digest(), before);
    t.end();
  });

void t.test("what git ignores does not count", (t) => {
  const { root, file } = checkout(t);
  const unchanged = new Unchanged(root, file);
  const before = unchanged.digest();
  mkdirSync(join(root, "node_modules", "x"));
  writeFileSync(join(root, "node_modules", "x", "index.js"), "");
  t.equal(unchanged.digest(), before);
  t.end();
});

void t.test("half a file of a run that was ended is as good as none", (t) => {
  const { root, file } = checkout(t);
  mkdirSync(join(root, "node_modules", ".cache"));
  writeFileSync(file, '{"types and');
  const unchanged = new Unchanged(root, file);
  t.notOk(unchanged.has(NAME, unchanged.digest()));
  t.end();
});

void t.test("where git does not say, nothing is as before", (t) => {
  const { root, file } = checkout(t);
  // In a checkout of its own, without which the one around it would be asked.
  rmSync(join(root, ".git"), { recursive: true });
  writeFileSync(join(root, ".git"), "gitdir: nowhere\n");
  const unchanged = new Unchanged(root, file);
  t.equal(unchanged.digest(), undefined);
  unchanged.passed(NAME, undefined);
  t.notOk(unchanged.has(NAME, undefined));
  t.end();
});
