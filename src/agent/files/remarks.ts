/** What is to be said of resources in files, with file, line and column: these are looked up in the files, for what is shown. */
import { readFile } from "node:fs/promises";
import type { Clock } from "../../core/clock.ts";
import { inSlices } from "../../core/slices.ts";
import type { Problem } from "../../resources/kind.ts";
import { formatFinding, readDocuments } from "../../resources/lint.ts";
import type { Position } from "../../resources/yaml.ts";
import { keyOfText, type FilePart, type PlacedResource } from "./parts.ts";

export interface Remark {
  readonly part: FilePart;
  /** What it is about, wherever that has moved to. */
  readonly subject: string;
  readonly problem: Problem;
  /** Where it is in the part, whose text is given. */
  readonly locate: (text: string) => Position;
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
  return part.content.findings.map(
    ({ line, column, path, message, severity }) => ({
      part,
      subject: part.key,
      problem: { path, message, severity },
      locate: () => ({ line, column }),
    }),
  );
}

/** What a resource has with others. */
export function remarkOf(
  { name, part, index }: PlacedResource,
  problem: Problem,
): Remark {
  return {
    part,
    subject: name,
    problem,
    locate(text) {
      const { resources } = readDocuments({ file: part.file, text });
      const { path, at } = problem;
      return resources[index]?.locate(path, at) ?? { line: 1, column: 1 };
    },
  };
}

/** The same for the same remark of the same resource, wherever that has moved to. */
export function identityOf({ subject, problem }: Remark): string {
  return `${subject}\n${problem.path}\n${problem.message}`;
}

/** The first of them as compilers print them, and how many more there are. */
export async function describe(
  remarks: readonly Remark[],
  clock: Clock,
): Promise<string[]> {
  const shown = remarks.slice(0, MOST_SHOWN);
  const texts = new Map<string, Buffer>();
  for (const { part, twin } of shown)
    for (const file of [part.file, twin?.part.file])
      if (file !== undefined && !texts.has(file))
        texts.set(file, await readFile(file).catch(() => Buffer.alloc(0)));
  const lines = await inSlices(format(shown, texts), clock);
  const more = remarks.length - shown.length;
  return more === 0 ? lines : [...lines, `and ${more} more`];
}

type Texts = ReadonlyMap<string, Buffer>;

function* format(
  remarks: readonly Remark[],
  texts: Texts,
): Generator<undefined, string[]> {
  const lines: string[] = [];
  for (const remark of remarks) {
    const { part, twin, problem } = remark;
    const { file } = part;
    const { path, severity = "error" } = problem;
    let { message } = problem;
    if (twin !== undefined) {
      const { line } = yield* place(twin, texts);
      message += ` ${twin.part.file}:${line} already`;
    }
    const position = yield* place(remark, texts);
    lines.push(formatFinding({ file, ...position, path, message, severity }));
  }
  return lines;
}

function* place(
  { part, locate }: Remark,
  texts: Texts,
): Generator<undefined, Position> {
  const text = texts.get(part.file) ?? Buffer.alloc(0);
  const own = text.subarray(part.start, part.end);
  // A file that has changed since is read again soon, and described then.
  if (keyOfText(own) !== part.key) return { line: 1, column: 1 };
  const { line, column } = locate(own.toString("utf8"));
  return { line: line + (yield* linesBefore(text, part.start)), column };
}

function* linesBefore(
  text: Buffer,
  offset: number,
): Generator<undefined, number> {
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
