/** The files of a directory as they were listed last: names that come again are the same texts, and so is their order. */
import { sortSteps, type Steps } from "../../core/slices.ts";

/** Files that went are forgotten once they are so many more than there are. */
const GONE = 1000;

export class Listed {
  #known = new Map<string, string>();
  /** In the order of the directory, and in that of their names. */
  #found: readonly string[] = [];
  #sorted: readonly string[] = [];

  /** The text that is kept of the file's path. */
  one(path: string): string {
    const known = this.#known.get(path);
    if (known !== undefined) return known;
    this.#known.set(path, path);
    return path;
  }

  /** `found` has texts that `one` gave. */
  *sorted(found: readonly string[]): Steps<readonly string[]> {
    const before = this.#found;
    if (
      found.length === before.length &&
      found.every((path, index) => path === before[index])
    )
      return this.#sorted;
    const sorted = yield* sortSteps(found, byName);
    this.#found = found;
    this.#sorted = sorted;
    if (this.#known.size > found.length + GONE)
      this.#known = new Map(found.map((path) => [path, path]));
    return sorted;
  }
}

function byName(one: string, other: string): number {
  return one < other ? -1 : 1;
}
