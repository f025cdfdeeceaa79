/** Which lines of src the test processes have run, as V8 writes it down for each, and the floor of each folder: one test a folder. */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
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

export interface Lines {
  readonly total: number;
  readonly covered: number;
}

export class Coverage {
  /** Where each process writes its report when it ends. */
  readonly directory: string;
  readonly #root: string;
  readonly #source: string;
  readonly #texts = new Map<string, string>();
  /** By file: whether any process has run the line. */
  readonly #lines = new Map<string, boolean[]>();

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
    return { total: all.length, covered: all.filter(Boolean).length };
  }

  #add(file: string, ranges: readonly Range[]): void {
    const text = this.#text(file);
    const ran = new Uint8Array(text.length);
    for (const { startOffset, endOffset, count } of ranges)
      ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
    const known = this.#lines.get(file) ?? [];
    this.#lines.set(file, known);
    let start = 0;
    for (let line = 0; start < text.length; line += 1) {
      const found = text.indexOf("\n", start);
      const end = found === -1 ? text.length : found;
      const indent = text.slice(start, end).search(/\S/);
      // Where any part of it has run; an empty one is what the text around it is.
      const own =
        indent === -1
          ? ran.subarray(start, start + 1)
          : ran.subarray(start + indent, end);
      known[line] = known[line] === true || own.includes(1);
      start = end + 1;
    }
  }

  #text(file: string): string {
    const text = this.#texts.get(file) ?? readFileSync(file, "utf8");
    this.#texts.set(file, text);
    return text;
  }
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
