/**
 * Counts by path, for a few paths. No Map: a Map has V8 intern each text that it is asked for, and most paths come once. Such a text
 * costs more to intern than all else that is counted of a call.
 */
import { ownCopy } from "../../core/text/own-copy.ts";

interface PathCount {
  readonly path: string;
  /** What the first call of this path said it is for. */
  readonly host: string;
  count: number;
}

/** Characters at the end of a path that tell most of them apart. */
const TOLD_BY = 6;

export class PathCounts {
  readonly rows: PathCount[] = [];
  readonly #marks: number[] = [];

  /** Counts a call of a path that is there already; false where it is not. */
  count(path: string): boolean {
    const mark = markOf(path);
    const marks = this.#marks;
    for (let at = 0; at < marks.length; at += 1) {
      if (marks[at] !== mark) continue;
      const row = this.rows[at];
      if (row?.path !== path) continue;
      row.count += 1;
      return true;
    }
    return false;
  }

  /** The first call of a path. */
  add(path: string, host: string): void {
    this.#marks.push(markOf(path));
    this.rows.push({ path: ownCopy(path), host: ownCopy(host), count: 1 });
  }
}

/** The same for equal paths, and another one for nearly all others. */
function markOf(path: string): number {
  const { length } = path;
  let mark = length;
  for (let at = Math.max(0, length - TOLD_BY); at < length; at += 1)
    mark = Math.imul(mark, 31) + path.charCodeAt(at);
  return mark;
}
