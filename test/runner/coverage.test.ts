/** Lines that test processes have run: of reports as V8 writes them, from one process or several. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import { Coverage, hasFloor } from "../support/runner/coverage.ts";

const FILES: Readonly<Record<string, string>> = {
  "src/core/sign.ts": `export function sign(value: number): string {
  if (value < 0) {
    return "minus";
  }

  return value > 0 ? "plus" : "zero";
}
`,
  "src/core/types.ts": "export interface Sign {}\n",
  "src/core2/other.ts": "export const other = 1;\n",
  "minus.js":
    'import { sign } from "./src/core/sign.ts"; import "./src/core2/other.ts"; sign(-1);',
  "plus.js": 'import { sign } from "./src/core/sign.ts"; sign(1);',
  "parent.js":
    'import { spawnSync } from "node:child_process"; spawnSync(process.execPath, ["plus.js"]); process.exit(1);',
};

function checkout(t: Test): { root: string; coverage: Coverage } {
  const root = t.testdir();
  for (const [file, text] of Object.entries(FILES)) {
    mkdirSync(join(root, dirname(file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  writeFileSync(join(root, "package.json"), '{"type":"module"}');
  return { root, coverage: new Coverage(root, join(root, "reports")) };
}

function runIn(root: string, coverage: Coverage, file: string): void {
  spawnSync(process.execPath, [file], {
    cwd: root,
    env: { ...process.env, ...coverage.environment },
  });
}

void t.test("tests of single files of a folder with a floor count", (t) => {
  const { root } = checkout(t);
  const rows: Readonly<Record<string, boolean>> = {
    "test/core/sign.test.ts": true,
    "test/core/sign-and-types.test.ts": false,
    "test/core2/other.test.ts": false,
  };
  for (const [file, counts] of Object.entries(rows))
    t.equal(hasFloor(root, file), counts, file);
  t.end();
});

void t.test("a line counts where any process has run it", (t) => {
  const { root, coverage } = checkout(t);
  runIn(root, coverage, "minus.js");
  coverage.take();
  t.strictSame(coverage.of("src/core/"), { total: 7, covered: 6 });
  runIn(root, coverage, "plus.js");
  t.strictSame(coverage.of("src/core/"), { total: 7, covered: 6 });
  coverage.take();
  t.strictSame(coverage.of("src/core/"), { total: 7, covered: 7 });
  t.strictSame(coverage.of("src/core2/"), { total: 1, covered: 1 });
  t.end();
});

void t.test("a part of a line is enough, and a body alone is not", (t) => {
  const { root, coverage } = checkout(t);
  runIn(root, coverage, "plus.js");
  coverage.take();
  // Without the body of the condition, and the brace that ends it.
  t.strictSame(coverage.of("src/core/"), { total: 7, covered: 5 });
  t.end();
});

void t.test("processes of the tests count, however those end", (t) => {
  const { root, coverage } = checkout(t);
  runIn(root, coverage, "parent.js");
  coverage.take();
  t.equal(coverage.of("src/core/").covered, 5);
  t.end();
});

void t.test("a report is taken once, and not before it is whole", (t) => {
  const { root, coverage } = checkout(t);
  runIn(root, coverage, "plus.js");
  const half = join(coverage.directory, "half.json");
  writeFileSync(half, '{"result":[');
  coverage.take();
  t.strictSame(readdirSync(coverage.directory), ["half.json"]);
  writeFileSync(half, '{"result":[]}');
  coverage.take();
  t.strictSame(readdirSync(coverage.directory), []);
  t.equal(coverage.of("src/core/").covered, 5);
  t.end();
});

void t.test("reports of a run before are none of this one", (t) => {
  const { root, coverage } = checkout(t);
  runIn(root, coverage, "plus.js");
  const next = new Coverage(root, coverage.directory);
  next.take();
  t.strictSame(next.of("src/core/"), { total: 0, covered: 0 });
  t.end();
});
