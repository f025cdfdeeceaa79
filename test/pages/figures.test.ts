/** Every figure in a table of README and guide is one that was measured or simulated, and is kept in bench/results. */
import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import t from "tap";
import { FIGURE_TABLES } from "../../bench/figure-tables.ts";
import { keptResults } from "../../bench/results.ts";
import { readPage, tableAfter } from "../support/repository/pages.ts";

const ROOT = join(import.meta.dirname, "..", "..");

/** A page without the padding of its tables. */
const unpadded = (text: string): string =>
  text.replaceAll(/ {2,}/g, " ").replaceAll(/-{3,}/g, "---");

const results = await keptResults();

for (const { file, put } of FIGURE_TABLES)
  void t.test(
    `${relative(ROOT, file)} has the newest figures (npm run bench -- --summary)`,
    (t) => {
      const text = readFileSync(file, "utf8");
      t.equal(unpadded(text), unpadded(put(text, results)));
      t.end();
    },
  );

void t.test("the table of balancing has simulated figures", (t) => {
  const simulated = tableAfter(readPage("bench/results/simulate.md"), "\n\n");
  const shown = tableAfter(readPage("config/guide/resilience.md"), "simulated");
  t.ok(shown.length > 5);
  for (const [scenario = "", ...cells] of shown.slice(0, 8)) {
    const row = simulated.find(([name]) => name === scenario) ?? [];
    t.strictSame(
      cells,
      [1, 3, 5, 6].map((column) => row[column]),
      scenario,
    );
  }
  t.end();
});
