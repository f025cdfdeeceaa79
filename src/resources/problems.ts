/** Making and judging problems: the small words that every check uses. */
import type { Problem } from "./kind.ts";
import { formatPath, type Segment } from "./path.ts";

export function error(path: readonly Segment[], message: string): Problem {
  return { path: formatPath(path), message };
}

export function warning(path: readonly Segment[], message: string): Problem {
  return { path: formatPath(path), message, severity: "warning" };
}

/** The error that a text check found, if it found one. */
export function fault(
  message: string | undefined,
  path: readonly Segment[],
): Problem[] {
  return message === undefined ? [] : [error(path, message)];
}

export function isError(problem: Problem): boolean {
  return problem.severity !== "warning";
}

/** An error at each entry whose key an earlier one has. */
export function duplicates<T>(
  entries: readonly T[] | undefined,
  keyOfEntry: (entry: T) => string | undefined,
  path: (index: number) => readonly Segment[],
  what: string,
): Problem[] {
  const seen = new Set<string>();
  const problems: Problem[] = [];
  for (const [index, entry] of (entries ?? []).entries()) {
    const key = keyOfEntry(entry);
    if (key === undefined) continue;
    if (seen.has(key))
      problems.push(
        error(path(index), `${what} ${JSON.stringify(key)} is there already`),
      );
    seen.add(key);
  }
  return problems;
}

/** Text as a message has it: quoted, and cut where it is long. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
