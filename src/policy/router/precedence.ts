/** Which of several matches goes first, and in which words (trap 8). */
import type { Candidate } from "./candidate.ts";

/** What goes first within one path, and in which words. */
const ORDER: readonly {
  readonly by: string;
  readonly compare: <D>(left: Candidate<D>, right: Candidate<D>) => number;
}[] = [
  {
    by: "a more specific service and method",
    compare: (left, right) => (left.entry.rank ?? 0) - (right.entry.rank ?? 0),
  },
  {
    by: "a match with a method",
    compare: (left, right) =>
      Number(hasMethod(right)) - Number(hasMethod(left)),
  },
  {
    by: "a match of more headers",
    compare: (left, right) => right.headers - left.headers,
  },
  {
    by: "a match of more query parameters",
    compare: (left, right) => right.query - left.query,
  },
  {
    by: "an older route",
    compare: (left, right) => left.entry.createdAt - right.entry.createdAt,
  },
  {
    by: "the route whose name sorts earlier",
    compare: (left, right) =>
      compareText(left.entry.ref.route, right.entry.ref.route),
  },
  {
    by: "an earlier rule",
    compare: (left, right) => left.entry.ref.rule - right.entry.ref.rule,
  },
  {
    by: "an earlier match",
    compare: (left, right) => left.entry.ref.match - right.entry.ref.match,
  },
];

function hasMethod<D>({ entry }: Candidate<D>): boolean {
  return entry.match.method !== undefined;
}

/** Array.sort is stable, so equal ones stay as they came. */
export function compare<D>(left: Candidate<D>, right: Candidate<D>): number {
  for (const criterion of ORDER) {
    const difference = criterion.compare(left, right);
    if (difference !== 0) return difference;
  }
  return 0;
}

function compareText(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** What puts `winner` before `loser`. */
export function precedence<D>(
  winner: Candidate<D>,
  loser: Candidate<D>,
): string {
  const [won, lost] = [winner, loser].map(
    ({ entry }) => entry.match.path?.type ?? "PathPrefix",
  );
  if (won !== lost) return `a path of type ${won ?? ""}`;
  if (
    won === "PathPrefix" &&
    withoutSlash(winner.entry.match.path?.value ?? "/") !==
      withoutSlash(loser.entry.match.path?.value ?? "/")
  )
    return "a longer prefix";
  const decides = ORDER.find(({ compare }) => compare(winner, loser) !== 0);
  return decides?.by ?? "the earlier one";
}

/** The prefix without its final slash, which has no meaning; "" for "/". */
export function withoutSlash(prefix: string): string {
  return prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
}
