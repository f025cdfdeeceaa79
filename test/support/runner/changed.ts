/** What changed since main, and which unit tests reach it by imports. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const FOLDERS = ["src", "test", "bench"];
/** Tests of whole processes: too slow after each edit. */
const WHOLE_PROCESSES = /^test\/(?:e2e|hostile|ordinary)\//;

export interface Reached {
  readonly test: string;
  /** Imports between the test and the nearest change; 0 for a test that changed itself. */
  readonly distance: number;
}

/** Paths below `root` that differ from where this branch left `base`, those that git does not know yet included. */
export function changedSince(root: string, base: string): readonly string[] {
  const git = (...args: string[]): string[] =>
    execFileSync("git", args, { cwd: root, encoding: "utf8" })
      .split("\n")
      .filter((line) => line !== "");
  const [fork = base] = git("merge-base", base, "HEAD");
  return [
    ...git("diff", "--name-only", "--relative", fork),
    ...git("ls-files", "--others", "--exclude-standard"),
  ].sort();
}

/** Unit tests that reach one of the changed files, nearest first. */
export function testsReaching(
  root: string,
  changed: readonly string[],
): readonly Reached[] {
  const importers = importersIn(root);
  const distances = new Map(changed.map((file) => [file, 0]));
  // A map goes on with what is put in while it is walked: breadth first.
  for (const [file, distance] of distances)
    for (const importer of importers.get(file) ?? [])
      if (!distances.has(importer)) distances.set(importer, distance + 1);
  const rooms = new Set(changed.map(roomOf));
  return [...distances]
    .filter(([file]) => isUnitTest(file) && importers.has(file))
    .map(([test, distance]) => ({ test, distance }))
    .sort(
      (one, other) =>
        one.distance - other.distance ||
        Number(rooms.has(roomOf(other.test))) -
          Number(rooms.has(roomOf(one.test))) ||
        one.test.localeCompare(other.test),
    );
}

/** `policy` of src/policy/x.ts and of test/policy/x.test.ts. */
function roomOf(file: string): string {
  return dirname(file).split("/").slice(1).join("/");
}

function isUnitTest(file: string): boolean {
  return file.endsWith(".test.ts") && !WHOLE_PROCESSES.test(file);
}

/** Each file, and which files need it when they run. */
function importersIn(root: string): ReadonlyMap<string, readonly string[]> {
  const importers = new Map<string, string[]>();
  const of = (file: string): string[] => {
    const found = importers.get(file) ?? [];
    importers.set(file, found);
    return found;
  };
  for (const file of FOLDERS.flatMap((folder) => codeIn(root, folder))) {
    of(file);
    const text = readFileSync(join(root, file), "utf8");
    for (const needed of neededBy(text))
      of(normalize(join(dirname(file), needed))).push(file);
  }
  return importers;
}

/** Relative paths of code: imports, and files that are started by their name. Imports of types alone change nothing that runs. */
function neededBy(text: string): string[] {
  const running = text.replaceAll(
    /^(?:import|export) type [^;]*?from "[^"]+";/gm,
    "",
  );
  return [...running.matchAll(/"(\.{1,2}\/[^"\n]+\.[jt]s)"/g)].map(
    ([, path = ""]) => path,
  );
}

function codeIn(root: string, folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.[jt]s$/.test(name))
    .map((name) => join(folder, name));
}
