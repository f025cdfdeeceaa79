/** What is to be said of resources in files, with file, line and column: these are looked up in the files, for what is shown. */
import { readFile } from "node:fs/promises";
import { inSlices, type Pause, type Steps } from "../../core/slices.ts";
import type { Problem } from "../../resources/kind.ts";
import { formatFinding, readDocuments } from "../../resources/lint.ts";
import type { Position } from "../../resources/yaml.ts";
import type { LargeTexts } from "./large-texts.ts";
import { keyOfText, type FilePart, type PlacedEntry } from "./parts.ts";

export interface Remark {
  readonly part: FilePart;
  /** What it is about, wherever that has moved to. */
  readonly subject: string;
  readonly problem: Problem;
  /** Where it is in the part; or which of the part's resources has the problem. */
  readonly at: Position | number;
  /** The message ends with where this is. */
  readonly twin?: Remark;
}

/** Remarks that a message lists. */
const MOST_SHOWN = 20;
const NEWLINE = 0x0a;
/** Lines that are counted without a pause. */
const COUNTED = 1000;

/** What the documents of a part have by themselves. */
export function ownRemarks(part: FilePart): Remark[] {
  const { findings, key } = part.content;
  return findings.map(({ line, column, path, message, severity }) => ({
    part,
    subject: key,
    problem: { path, message, severity },
    at: { line, column },
  }));
}

/** What a resource has with others. */
export function remarkOf(
  { entry, part }: PlacedEntry,
  problem: Problem,
): Remark {
  return { part, subject: entry.name, problem, at: entry.index };
}

/** The same for the same remark of the same resource, wherever that has moved to. */
function identityOf({ subject, problem }: Remark): string {
  return `${subject}\n${problem.path}\n${problem.message}`;
}

/** Those that are not among the known ones, and the identities of all. */
export function* newRemarks(
  remarks: readonly Remark[],
  known: ReadonlySet<string>,
): Steps<{ readonly fresh: readonly Remark[]; readonly all: Set<string> }> {
  const fresh: Remark[] = [];
  const all = new Set<string>();
  for (const remark of remarks) {
    yield;
    const identity = identityOf(remark);
    if (!known.has(identity)) fresh.push(remark);
    all.add(identity);
  }
  return { fresh, all };
}

/** The first of them as compilers print them, and how many more there are. */
export async function describe(
  remarks: readonly Remark[],
  large: LargeTexts,
  pause: Pause,
): Promise<string[]> {
  const shown = remarks.slice(0, MOST_SHOWN);
  const places = new Places(large, pause);
  const lines: string[] = [];
  for (const remark of shown) {
    const { part, twin, problem } = remark;
    const { path, severity = "error" } = problem;
    const where =
      twin === undefined
        ? ""
        : ` ${twin.part.file}:${(await places.of(twin)).line} already`;
    const message = `${problem.message}${where}`;
    const position = await places.of(remark);
    const { file } = part;
    lines.push(formatFinding({ file, ...position, path, message, severity }));
  }
  const more = remarks.length - shown.length;
  return more === 0 ? lines : [...lines, `and ${more} more`];
}

/** Looks up where remarks are. */
class Places {
  readonly #large: LargeTexts;
  readonly #pause: Pause;
  readonly #texts = new Map<string, Buffer>();

  constructor(large: LargeTexts, pause: Pause) {
    this.#large = large;
    this.#pause = pause;
  }

  async of({ part, at, problem }: Remark): Promise<Position> {
    const { file, start, end, content } = part;
    const text = await this.#textOf(file);
    const own = text.subarray(start, end);
    const key = await inSlices(keyOfText(own), this.#pause);
    // A file that has changed since is read again soon, and described then.
    if (key !== content.key) return { line: 1, column: 1 };
    const { line, column } =
      typeof at === "number" ? await this.#locate(part, own, at, problem) : at;
    const before = await inSlices(linesBefore(text, start), this.#pause);
    return { line: before + line, column };
  }

  async #textOf(file: string): Promise<Buffer> {
    const known = this.#texts.get(file);
    if (known !== undefined) return known;
    const text = await readFile(file).catch(() => Buffer.alloc(0));
    this.#texts.set(file, text);
    return text;
  }

  async #locate(
    { file, content }: FilePart,
    text: Buffer,
    index: number,
    { path, at }: Problem,
  ): Promise<Position> {
    const start = { line: 1, column: 1 };
    if (this.#large.has(text))
      // Without the thread there is still the document to name.
      return this.#large
        .locate({ key: content.key, text }, { index, path, at }, this.#pause)
        .catch(() => start);
    await this.#pause();
    const { resources } = readDocuments({ file, text: text.toString("utf8") });
    return resources[index]?.locate(path, at) ?? start;
  }
}

function* linesBefore(text: Buffer, offset: number): Steps<number> {
  let lines = 0;
  for (
    let at = text.indexOf(NEWLINE);
    at >= 0 && at < offset;
    at = text.indexOf(NEWLINE, at + 1)
  ) {
    lines += 1;
    if (lines % COUNTED === 0) yield;
  }
  return lines;
}
