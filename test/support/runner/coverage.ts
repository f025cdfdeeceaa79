/** Which lines of src the test processes have run, as V8 writes it down for each, and the floor of each folder: one test a folder. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { NOTHING, sum, type Counts } from "./tap-text.ts";

/** Share of lines, in percent, that the tests of single files of these folders reach at least. */
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

/** Tells of a test file that has the name of a source file in such a folder. What the others reach would count too, and costs a third of their time to be written down. */
export function hasFloor(root: string, test: string): boolean {
  const source = test.replace(/^test\//, "src/").replace(/\.test\.ts$/, ".ts");
  return (
    Object.keys(FLOORS).some((folder) => source.startsWith(folder)) &&
    existsSync(join(root, source))
  );
}

/** A piece of a file, in characters, and how often it has run. Pieces within another come after it. */
interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

interface ProcessReport {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly { readonly ranges: readonly Range[] }[];
  }[];
}

/** A line of a file, in characters, and whether any process has run a part of it. */
interface Line {
  readonly start: number;
  readonly end: number;
  covered: boolean;
}

export interface Lines {
  readonly total: number;
  readonly covered: number;
}

export class Coverage {
  /** Where each process writes its report when it ends. */
  readonly directory: string;
  readonly #root: string;
  readonly #source: string;
  readonly #lines = new Map<string, readonly Line[]>();

  constructor(root: string, directory: string) {
    this.directory = directory;
    this.#root = root;
    this.#source = pathToFileURL(join(root, "src")).href + "/";
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
  }

  /** What the test processes need in their environment. */
  get environment(): Readonly<Record<string, string>> {
    return { NODE_V8_COVERAGE: this.directory };
  }

  /** Takes up what the processes that ended since have written. A report that is still being written waits for the next call. */
  take(): void {
    for (const name of readdirSync(this.directory)) {
      const file = join(this.directory, name);
      const report = parsed(readFileSync(file, "utf8"));
      if (report === undefined) continue;
      rmSync(file);
      for (const { url, functions } of report.result)
        if (url.startsWith(this.#source) && url.endsWith(".ts"))
          this.#add(
            fileURLToPath(url),
            functions.flatMap(({ ranges }) => ranges),
          );
    }
  }

  /** Of the files of a folder that any process has loaded: the others hold types alone, or no test needs them. */
  of(folder: string): Lines {
    const all = [...this.#lines]
      .filter(([file]) => file.startsWith(join(this.#root, folder)))
      .flatMap(([, lines]) => lines);
    return {
      total: all.length,
      covered: all.filter(({ covered }) => covered).length,
    };
  }

  #add(file: string, ranges: readonly Range[]): void {
    const lines = this.#lines.get(file) ?? linesOf(readFileSync(file, "utf8"));
    this.#lines.set(file, lines);
    const open = lines.filter(({ covered }) => !covered);
    // Most files have run to their last line long before the last report.
    if (open.length === 0) return;
    const ran = new Uint8Array(lines.at(-1)?.end ?? 0);
    for (const { startOffset, endOffset, count } of ranges)
      ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
    for (const line of open)
      line.covered = ran.subarray(line.start, line.end).includes(1);
  }
}

/** Each without its indent, where any part of it has to run; an empty one is what the text around it is. */
function linesOf(text: string): readonly Line[] {
  let start = 0;
  const lines = text.split("\n").map((line) => {
    const indent = line.search(/\S/);
    const from = start;
    start += line.length + 1;
    return indent === -1
      ? { start: from, end: from + 1, covered: false }
      : { start: from + indent, end: from + line.length, covered: false };
  });
  // What follows the last line break is empty.
  return lines.filter((line) => line.start < text.length);
}

function parsed(text: string): ProcessReport | undefined {
  try {
    return JSON.parse(text) as ProcessReport;
  } catch {
    return undefined;
  }
}

export function checkCoverage(coverage: Coverage): Counts {
  return Object.entries(FLOORS)
    .map(([folder, floor]) => judge(folder, floor, coverage.of(folder)))
    .reduce(sum, NOTHING);
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
