/** Each folder of src that has a floor of coverage is one test. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { NOTHING, sum, type Counts } from "./tap-text.ts";

/** Share of lines, in percent, that the unit tests of these folders reach at least. */
const FLOORS: Readonly<Record<string, number>> = {
  "src/agent/": 90,
  "src/control-plane/": 90,
  "src/core/": 90,
  "src/identity/": 90,
  "src/policy/": 90,
  "src/proxy/": 90,
  "src/push/": 90,
  "src/resources/": 90,
  "src/sidecar/": 85,
  "src/wire/": 90,
};

interface Lines {
  readonly total: number;
  readonly covered: number;
}

type Report = Readonly<Record<string, { readonly lines: Lines }>>;

export function checkCoverage(root: string): Counts {
  const text = readFileSync(
    join(root, ".tap", "report", "coverage-summary.json"),
    "utf8",
  );
  const report = JSON.parse(text) as Report;
  return Object.entries(FLOORS)
    .map(([folder, floor]) =>
      judge(folder, floor, linesOf(report, join(root, folder))),
    )
    .reduce(sum, NOTHING);
}

function linesOf(report: Report, folder: string): Lines {
  const all = Object.entries(report)
    .filter(([file]) => file.startsWith(folder))
    .map(([, { lines }]) => lines);
  return {
    total: all.reduce((lines, { total }) => lines + total, 0),
    covered: all.reduce((lines, { covered }) => lines + covered, 0),
  };
}

function judge(
  folder: string,
  floor: number,
  { total, covered }: Lines,
): Counts {
  const percent = total === 0 ? 0 : (100 * covered) / total;
  const ok = percent >= floor;
  process.stdout.write(
    `coverage ${folder.padEnd(18)} ${percent.toFixed(1).padStart(5)} % of ${total} lines ${ok ? "ok" : `failed: expected ${floor} %`}\n`,
  );
  return { ...NOTHING, [ok ? "passed" : "failed"]: 1 };
}
