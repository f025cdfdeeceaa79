/**
 * Which rule of the routes a request meets: HTTPRoute's full order of precedence, compiled to look-ups (trap 8).
 *
 * ```
 *   Exact  →  longest PathPrefix (by element)  →  RegularExpression      what kind of path: which table
 *     then, within a path: method → #headers → #query → oldest → ns/name → rule → match      order in its list
 * ```
 * The kind of path outranks all else, so the first list with a match has the answer.
 */
import { compileExpression } from "../../core/text/expression.ts";
import { upperEscapes } from "../../core/text/percent.ts";
import type {
  HeaderMatch,
  HTTPRouteMatch,
  QueryMatch,
} from "../../resources/http-route/spec.ts";
import { readQuery } from "../../core/text/query.ts";

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
  /** Among regular expressions, before all else: the lower goes first. Kinds of routes that have an order of their own there use it. */
  readonly rank?: number;
  /** Shares of the requests; one at least has a weight above 0. */
  readonly targets: readonly { readonly weight: number; readonly to: D }[];
}

export interface Router<D> {
  /** Where the request goes; `random` in [0, 1) draws among the weights. Undefined: no match. */
  route(request: RoutedRequest, random: number): D | undefined;
  /** How `route` came to its answer, by the same lists and the same conditions. */
  explain(request: RoutedRequest): RouterTrace<D>;
}

export interface RouterTrace<D> {
  /** In the order in which they are asked; those that the path rules out stand last. */
  readonly considered: readonly ConsideredMatch[];
  /** Where the match that takes the request leads; none where no match does. */
  readonly targets: RouteEntry<D>["targets"];
}

export interface ConsideredMatch {
  readonly ref: RuleRef;
  /** Why it does not take the request; undefined for the one that does. */
  readonly why: string | undefined;
}

type ValueMatcher = (value: string) => boolean;

/** One thing that a match asks for besides a path that is looked up. */
interface Condition {
  /** Like "method", or "header x-user". */
  readonly of: string;
  readonly wanted: string;
  readonly read: (request: RoutedRequest) => string | undefined;
  readonly matches: ValueMatcher;
}

interface Candidate<D> {
  readonly entry: RouteEntry<D>;
  readonly conditions: readonly Condition[];
  readonly headers: number;
  readonly query: number;
  readonly total: number;
}

export function compileRouter<D>(entries: readonly RouteEntry<D>[]): Router<D> {
  const exact = new Map<string, Candidate<D>[]>();
  const prefixes = new Map<string, Candidate<D>[]>();
  const expressions: Candidate<D>[] = [];
  let depth = 0;
  const parameters = parameterReader(entries);
  const candidates = entries.map((entry) =>
    compileEntry(entry, parameters.read),
  );

  for (const candidate of candidates.sort(compare)) {
    const { type = "PathPrefix", value: stated = "/" } =
      candidate.entry.match.path ?? {};
    const value = upperEscapes(stated);
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

  /** Shows `visit` each list that the path leads to, in order of precedence, until it finds something. */
  const walk = <T>(
    request: RoutedRequest,
    visit: (
      list: readonly Candidate<D>[] | undefined,
      request: RoutedRequest,
    ) => T | undefined,
  ): T | undefined => {
    const { path } = request;
    // To look up a path makes V8 keep it: not where there is nothing to find.
    let found = exact.size > 0 ? visit(exact.get(path), request) : undefined;
    if (found === undefined && depth > 0)
      for (let prefix = cut(path, depth); prefix !== ""; prefix = up(prefix)) {
        found = visit(prefixes.get(prefix), request);
        if (found !== undefined) break;
      }
    found ??= visit(prefixes.get(""), request);
    return found ?? visit(expressions, request);
  };

  return {
    route(request, random) {
      parameters.begin();
      const found = walk(request, first);
      parameters.begin();
      return found === undefined ? undefined : draw(found, random);
    },
    explain(request) {
      parameters.begin();
      const taken = walk(request, first);
      const reached: Candidate<D>[] = [];
      walk(request, (list) => void reached.push(...(list ?? [])));
      const all = [
        ...[...exact.values()].flat(),
        ...[...prefixes.values()].flat(),
        ...expressions,
      ];
      const ruledOut = all.filter((each) => !reached.includes(each));
      const notTaken = reached.map((each) => ({
        ref: each.entry.ref,
        why: each === taken ? undefined : whyNot(each, request, taken),
      }));
      parameters.begin();
      return {
        considered: [
          ...notTaken,
          ...ruledOut.map(({ entry }) => ({
            ref: entry.ref,
            why: offPath(entry.match, request.path),
          })),
        ],
        targets: taken?.entry.targets ?? [],
      };
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
    if (unmet(candidate, request) === undefined) return candidate;
  return undefined;
}

/** The first condition that the request does not meet: to route is to ask whether there is one, to explain is to say which. */
function unmet<D>(
  { conditions }: Candidate<D>,
  request: RoutedRequest,
): Condition | undefined {
  for (const condition of conditions) {
    const value = condition.read(request);
    if (value === undefined || !condition.matches(value)) return condition;
  }
  return undefined;
}

function whyNot<D>(
  candidate: Candidate<D>,
  request: RoutedRequest,
  taken: Candidate<D> | undefined,
): string {
  const condition = unmet(candidate, request);
  if (condition === undefined)
    return `matches too, but ${taken === undefined ? "another" : precedence(taken, candidate)} goes first`;
  const value = condition.read(request);
  return `${condition.of} ${value === undefined ? "is missing" : `is ${JSON.stringify(value)}`}, not ${condition.wanted}`;
}

function offPath({ path }: HTTPRouteMatch, asked: string): string {
  const { type = "PathPrefix", value = "/" } = path ?? {};
  return `path is ${JSON.stringify(asked)}, not ${type === "Exact" ? "" : "under "}${JSON.stringify(value)}`;
}

/** What puts `winner` before `loser`. */
function precedence<D>(winner: Candidate<D>, loser: Candidate<D>): string {
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

interface ParameterReader {
  readonly read: (request: RoutedRequest, name: string) => string | undefined;
  /** Forgets what was read: it is another request's, and may hold tokens, which are not kept beyond it either. */
  readonly begin: () => void;
}

/** Reads a request's query at the first condition that asks for it, once for all of them. */
function parameterReader(
  entries: readonly RouteEntry<unknown>[],
): ParameterReader {
  const wanted = new Set(
    entries.flatMap(({ match }) =>
      (match.queryParams ?? []).map(({ name }) => name),
    ),
  );
  let values: ReadonlyMap<string, string> | undefined;
  return {
    read: ({ query }, name) => (values ??= readQuery(query, wanted)).get(name),
    begin: () => (values = undefined),
  };
}

function compileEntry<D>(
  entry: RouteEntry<D>,
  parameter: ParameterReader["read"],
): Candidate<D> {
  const { path, method } = entry.match;
  const headers = firstOfEachName(
    entry.match.headers ?? [],
    (name) => name.toLowerCase(),
    "header",
    (request, name) => request.header(name),
  );
  const query = firstOfEachName(
    entry.match.queryParams ?? [],
    (name) => name,
    "query parameter",
    parameter,
  );
  return {
    entry,
    conditions: [
      ...(method === undefined
        ? []
        : [
            {
              of: "method",
              wanted: method,
              read: methodOf,
              matches: (actual: string) => actual === method,
            },
          ]),
      ...(path?.type === "RegularExpression"
        ? [
            {
              of: "path",
              wanted: `an instance of ${path.value ?? "/"}`,
              read: pathOf,
              matches: compileExpression(path.value ?? "/"),
            },
          ]
        : []),
      ...headers,
      ...query,
    ],
    headers: headers.length,
    query: query.length,
    total: entry.targets.reduce((sum, target) => sum + target.weight, 0),
  };
}

function methodOf({ method }: RoutedRequest): string {
  return method;
}

function pathOf({ path }: RoutedRequest): string {
  return path;
}

/** Of several entries with an equivalent name only the first counts (Gateway API, HTTPHeaderMatch and HTTPQueryParamMatch). */
function firstOfEachName(
  wanted: readonly (HeaderMatch | QueryMatch)[],
  canonical: (name: string) => string,
  what: string,
  read: (request: RoutedRequest, name: string) => string | undefined,
): Condition[] {
  const byName = new Map<string, Condition>();
  for (const { name, type, value } of wanted) {
    const key = canonical(name);
    if (byName.has(key)) continue;
    const regular = type === "RegularExpression";
    byName.set(key, {
      of: `${what} ${key}`,
      wanted: regular ? `an instance of ${value}` : JSON.stringify(value),
      read: (request) => read(request, key),
      matches: regular
        ? compileExpression(value)
        : (actual) => actual === value,
    });
  }
  return [...byName.values()];
}

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
function compare<D>(left: Candidate<D>, right: Candidate<D>): number {
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

function append<D>(
  table: Map<string, Candidate<D>[]>,
  key: string,
  candidate: Candidate<D>,
): void {
  const list = table.get(key);
  if (list === undefined) table.set(key, [candidate]);
  else list.push(candidate);
}
