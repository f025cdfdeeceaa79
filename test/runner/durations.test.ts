/** How long test files took: kept from run to run, and of no use where the file is broken. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { Durations } from "../support/runner/durations.ts";

void t.test("what a file took is known in the next run", (t) => {
  const file = join(t.testdir(), "caches", "durations.json");
  const first = new Durations(file);
  t.equal(first.of("a.test.ts"), undefined);
  first.took("a.test.ts", 1200.4);
  first.took("a.test.ts", 800.4);
  first.save();
  t.equal(new Durations(file).of("a.test.ts"), 800);
  t.end();
});

void t.test("a file that was ended early is thought to take longer", (t) => {
  const durations = new Durations(join(t.testdir(), "durations.json"));
  durations.tookMoreThan("a.test.ts", 300);
  t.equal(durations.of("a.test.ts"), 600);
  durations.took("a.test.ts", 5000);
  durations.tookMoreThan("a.test.ts", 300);
  t.equal(durations.of("a.test.ts"), 5000);
  t.end();
});

for (const text of ["", '{"a.test.ts": 3', '{"a.test.ts": "3"}', "null"])
  void t.test(`nothing is known of ${JSON.stringify(text)}`, (t) => {
    const file = join(t.testdir(), "durations.json");
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    t.equal(new Durations(file).of("a.test.ts"), undefined);
    t.end();
  });
