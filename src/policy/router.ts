/**
 * Which rule of the routes a request meets: HTTPRoute's full order of precedence, compiled to look-ups (trap 8).
 *
 * ```
 *   Exact  →  longest PathPrefix (by element)  →  RegularExpression      what kind of path: which table
 *     then, within a path: method → #headers → #query → oldest → ns/name → rule → match      order in its list
 * ```
 * The kind of path outranks all else, so the first list with a match has the answer.
 */
import { RE2JS } from "re2js";
import type {
  HeaderMatch,
  HTTPRouteMatch,
  QueryMatch,
} from "../resources/http-route.ts";

/** What a router reads of a request. */
export interface RoutedRequest {
  readonly method: string;
  /** Normalised, without query. */
  readonly path: string;
  /** Without "?". */
  readonly query: string;
  /** By lower-case name; several values joined as RFC 9110 5.3 says; "host" gives the host without port. */
  header(name: string): string | undefined;
}

/** Names the match that decided. */
export interface RuleRef {
  /** "NAMESPACE/NAME" of the route; "" for the implicit route to the Service itself. */
  readonly route: string;
  /** Indexes as they stand in the spec. */
  readonly rule: number;
  readonly match: number;
}

/** One match of one rule, and what it leads to. */
export interface RouteEntry<D> {
  readonly ref: RuleRef;
  /** Milliseconds since the epoch; the older route goes first. */
  readonly createdAt: number;
  readonly match: HTTPRouteMatch;
  /** Shares of the requests; one at least has a weight above 0. */
  readonly targets: readonly { readonly weight: number; readonly to: D }[];
}

export interface Router<D> {
  /** Where the request goes; `random` in [0, 1) draws among the weights. Undefined: no match. */
  route(request: RoutedRequest, random: number): D | undefined;
}

type ValueMatcher = (value: string) => boolean;

interface Candidate<D> {
  readonly entry: RouteEntry<D>;
  readonly path: ValueMatcher | undefined;
  readonly method: string | undefined;
  readonly headers: readonly { name: string; matches: ValueMatcher }[];
  readonly query: readonly { name: string; matches: ValueMatcher }[];
  readonly total: number;
}

export function compileRouter<D>(entries: readonly RouteEntry<D>[]): Router<D> {
  const exact = new Map<string, Candidate<D>[]>();
  const prefixes = new Map<string, Candidate<D>[]>();
  const expressions: Candidate<D>[] = [];
  let depth = 0;

  for (const candidate of entries.map(compileEntry).sort(compare)) {
    const { type = "PathPrefix", value = "/" } =
      candidate.entry.match.path ?? {};
    if (type === "RegularExpression") {
      expressions.push(candidate);
    } else if (type === "Exact") {
      append(exact, value, candidate);
    } else {
      const prefix = withoutSlash(value);
      depth = Math.max(depth, elements(prefix));
      append(prefixes, prefix, candidate);
    }
  }

  return {
    route(request, random) {
      const { path } = request;
      let found = first(exact.get(path), request);
      if (found === undefined && depth > 0)
        for (
          let prefix = cut(path, depth);
          prefix !== "";
          prefix = up(prefix)
        ) {
          found = first(prefixes.get(prefix), request);
          if (found !== undefined) break;
        }
      found ??= first(prefixes.get(""), request);
      found ??= first(expressions, request);
      return found === undefined ? undefined : draw(found, random);
    },
  };
}

/** The first of the list, which is in order of precedence, whose other conditions the request meets. */
function first<D>(
  candidates: readonly Candidate<D>[] | undefined,
  request: RoutedRequest,
): Candidate<D> | undefined {
  if (candidates === undefined) return undefined;
  for (const candidate of candidates)
    if (meets(candidate, request)) return candidate;
  return undefined;
}

function meets<D>(candidate: Candidate<D>, request: RoutedRequest): boolean {
  if (candidate.method !== undefined && candidate.method !== request.method)
    return false;
  if (candidate.path !== undefined && !candidate.path(request.path))
    return false;
  for (const { name, matches } of candidate.headers) {
    const value = request.header(name);
    if (value === undefined || !matches(value)) return false;
  }
  for (const { name, matches } of candidate.query) {
    const value = queryValue(request.query, name);
    if (value === undefined || !matches(value)) return false;
  }
  return true;
}

/** Draws by weight: the share [0, w₁) of `random` is the first target's, and so on. */
function draw<D>(candidate: Candidate<D>, random: number): D | undefined {
  const { targets } = candidate.entry;
  let rest = random * candidate.total;
  for (const target of targets) {
    if (rest < target.weight) return target.to;
    rest -= target.weight;
  }
  // Rounding may leave a crumb; the last share that is one takes it.
  return targets.findLast((target) => target.weight > 0)?.to;
}

function compileEntry<D>(entry: RouteEntry<D>): Candidate<D> {
  const { path, method } = entry.match;
  return {
    entry,
    path:
      path?.type === "RegularExpression"
        ? expression(path.value ?? "/")
        : undefined,
    method,
    headers: firstOfEachName(entry.match.headers ?? [], (name) =>
      name.toLowerCase(),
    ),
    query: firstOfEachName(entry.match.queryParams ?? [], (name) => name),
    total: entry.targets.reduce((sum, target) => sum + target.weight, 0),
  };
}

/** Of several entries with an equivalent name only the first counts (Gateway API, HTTPHeaderMatch and HTTPQueryParamMatch). */
function firstOfEachName(
  wanted: readonly (HeaderMatch | QueryMatch)[],
  canonical: (name: string) => string,
): { name: string; matches: ValueMatcher }[] {
  const byName = new Map<string, ValueMatcher>();
  for (const { name, type, value } of wanted) {
    const key = canonical(name);
    if (byName.has(key)) continue;
    byName.set(
      key,
      type === "RegularExpression"
        ? expression(value)
        : (actual) => actual === value,
    );
  }
  return [...byName].map(([name, matches]) => ({ name, matches }));
}

/** Matches the whole value, as Istio does; linear in its length whatever the pattern. */
function expression(pattern: string): ValueMatcher {
  const compiled = RE2JS.compile(pattern);
  return (value) => compiled.testExact(value);
}

/** The order within one path. Array.sort is stable, so equal ones stay as they came. */
function compare<D>(left: Candidate<D>, right: Candidate<D>): number {
  return (
    Number(right.method !== undefined) - Number(left.method !== undefined) ||
    right.headers.length - left.headers.length ||
    right.query.length - left.query.length ||
    left.entry.createdAt - right.entry.createdAt ||
    compareText(left.entry.ref.route, right.entry.ref.route) ||
    left.entry.ref.rule - right.entry.ref.rule ||
    left.entry.ref.match - right.entry.ref.match
  );
}

function compareText(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** The prefix without its final slash, which has no meaning; "" for "/". */
function withoutSlash(prefix: string): string {
  return prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
}

function elements(prefix: string): number {
  return prefix.split("/").length - 1;
}

/** The first `depth` elements of a path: no prefix is longer, so the walk up need not start higher. */
function cut(path: string, depth: number): string {
  let at = 0;
  for (let element = 0; element < depth; element += 1) {
    at = path.indexOf("/", at + 1);
    if (at < 0) return withoutSlash(path);
  }
  return path.slice(0, at);
}

function up(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** The first value of a query parameter, decoded as far as it can be. "+" stays: it is a blank to forms only. */
function queryValue(query: string, name: string): string | undefined {
  let start = 0;
  while (start < query.length) {
    const ampersand = query.indexOf("&", start);
    const end = ampersand < 0 ? query.length : ampersand;
    const equals = query.indexOf("=", start);
    const nameEnd = equals < 0 || equals > end ? end : equals;
    if (decodeQuery(query.slice(start, nameEnd)) === name)
      return decodeQuery(query.slice(Math.min(nameEnd + 1, end), end));
    start = end + 1;
  }
  return undefined;
}

function decodeQuery(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    // Not UTF-8, or no escape: it stands for itself.
    return text;
  }
}

function append<D>(
  table: Map<string, Candidate<D>[]>,
  key: string,
  candidate: Candidate<D>,
): void {
  const list = table.get(key);
  if (list === undefined) table.set(key, [candidate]);
  else list.push(candidate);
}
