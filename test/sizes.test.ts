/** Folders, files and functions of `src` stay as small as one can read, and so do the folders and files of `test`. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { functionsIn } from "./support/repository/functions.ts";
import {
  sourceFiles,
  SRC,
  TEST,
  testFiles,
} from "./support/repository/imports.ts";

const FILES_IN_A_FOLDER = 20;
/** Lines. */
const LONGEST_FILE = 400;
const LONGEST_TEST_FILE = 450;
const MEDIAN_FILE = 120;
const LONGEST_FUNCTION = 70;

function lengthsOf(
  folder: string,
  files: readonly string[],
): { readonly file: string; readonly lines: number }[] {
  return files.map((file) => ({
    file,
    lines: readFileSync(join(folder, file), "utf8").split("\n").length - 1,
  }));
}

/** Files that each folder has of its own, in `src` and in `test`. */
function filesOfFolders(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const file of [
    ...sourceFiles(),
    ...testFiles().map((file) => join("test", file)),
  ]) {
    const folder = dirname(file);
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return counts;
}

void t.test("a folder has few files of its own", (t) => {
  for (const [folder, count] of filesOfFolders())
    t.ok(count <= FILES_IN_A_FOLDER, `${folder} has ${count}`);
  t.end();
});

void t.test("files are short", (t) => {
  const lengths = lengthsOf(SRC, sourceFiles()).sort(
    (a, b) => a.lines - b.lines,
  );
  const median = lengths[Math.floor(lengths.length / 2)]?.lines ?? 0;
  t.ok(median <= MEDIAN_FILE, `half of them have up to ${median} lines`);
  for (const { file, lines } of lengths)
    if (lines > LONGEST_FILE) t.fail(`${file} has ${lines} lines`);
  t.end();
});

void t.test("test files are short", (t) => {
  for (const { file, lines } of lengthsOf(TEST, testFiles()))
    t.ok(lines <= LONGEST_TEST_FILE, `${file} has ${lines} lines`);
  t.end();
});

void t.test("functions are short", (t) => {
  const functions = functionsIn(SRC, sourceFiles());
  t.ok(functions.length > 1000, `${functions.length} functions`);
  for (const { file, name, lines } of functions)
    if (lines > LONGEST_FUNCTION) t.fail(`${file}: ${name} has ${lines} lines`);
  t.end();
});
