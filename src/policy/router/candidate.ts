/** The matches of routes, each with what it asks of a request besides a path that is looked up. */
import { compileExpression } from "../../core/text/expression.ts";
import type {
  HeaderMatch,
  HTTPRouteMatch,
  QueryMatch,
} from "../../resources/http-route/spec.ts";
import { anyReading, type HeaderLines } from "../../mesh/header-readings.ts";
import { decodeQuery, parametersOf, readQuery } from "../../core/text/query.ts";

/** What a router reads of a request. */
export interface RoutedRequest {
  readonly method: string;
  /** Normalised, without query. */
  readonly path: string;
  /** Without "?". */
  readonly query: string;
  /** By lower-case name; several values joined as RFC 9110 5.3 says; "host" gives the host without port. */
  header(name: string): string | undefined;
  /** The same, line by line. */
  lines(name: string): HeaderLines;
}

/** Names the match that decided. */
export interface RuleRef {
  /** "NAMESPACE/NAME" of the route; "" for the implicit route to the Service itself. */
  readonly route: string;
  /** Indexes in the spec. */
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
  /** The match limits requests: one reading of a header or parameter that fits is enough, for the application may go by that one. */
  readonly limits?: true;
  /** Shares of the requests; one at least has a weight above 0. */
  readonly targets: readonly { readonly weight: number; readonly to: D }[];
}

type ValueMatcher = (value: string) => boolean;

/** One thing that a match asks for besides a path that is looked up. */
export interface Condition {
  /** Like "method", or "header x-user". */
  readonly of: string;
  readonly wanted: string;
  readonly read: (request: RoutedRequest) => string | undefined;
  readonly matches: ValueMatcher;
}

export interface Candidate<D> {
  readonly entry: RouteEntry<D>;
  readonly conditions: readonly Condition[];
  readonly headers: number;
  readonly query: number;
  readonly total: number;
}

export interface ParameterReader {
  readonly read: (request: RoutedRequest, name: string) => string | undefined;
  /** Forgets what was read: it is another request's, and may hold tokens, which are not kept beyond it either. */
  readonly begin: () => void;
}

/** Reads a request's query at the first condition that asks for it, once for all of them. */
export function parameterReader(
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

export function compileEntry<D>(
  entry: RouteEntry<D>,
  parameter: ParameterReader["read"],
): Candidate<D> {
  const { path, method } = entry.match;
  const headers = firstOfEachName(
    entry.match.headers ?? [],
    (name) => name.toLowerCase(),
    "header",
    entry.limits === true ? readingOf : joinedOf,
  );
  const query = firstOfEachName(
    entry.match.queryParams ?? [],
    (name) => name,
    "query parameter",
    entry.limits === true
      ? parameterOf
      : (name) => (request) => parameter(request, name),
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

/** As the Gateway API has it: several values are one, joined. */
function joinedOf(name: string): Condition["read"] {
  return (request) => request.header(name);
}

/** The reading that matches, where one does. */
function readingOf(name: string, matches: ValueMatcher): Condition["read"] {
  return (request) => {
    const readings = anyReading(name, request.lines(name));
    return typeof readings === "string"
      ? readings
      : (readings?.find(matches) ?? request.header(name));
  };
}

/** The value that matches of those under the name, where one does: some applications go by the first, others by the last. */
function parameterOf(name: string, matches: ValueMatcher): Condition["read"] {
  return ({ query }) => {
    let first: string | undefined;
    for (const parameter of parametersOf(query)) {
      if (parameter.name !== name) continue;
      const value = decodeQuery(parameter.value);
      if (matches(value)) return value;
      first ??= value;
    }
    return first;
  };
}

/** Only the first counts of several entries with an equivalent name (Gateway API, HTTPHeaderMatch and HTTPQueryParamMatch). */
function firstOfEachName(
  wanted: readonly (HeaderMatch | QueryMatch)[],
  canonical: (name: string) => string,
  what: string,
  reader: (name: string, matches: ValueMatcher) => Condition["read"],
): Condition[] {
  const byName = new Map<string, Condition>();
  for (const { name, type, value } of wanted) {
    const key = canonical(name);
    if (byName.has(key)) continue;
    const regular = type === "RegularExpression";
    const matches = regular
      ? compileExpression(value)
      : (actual: string) => actual === value;
    byName.set(key, {
      of: `${what} ${key}`,
      wanted: regular ? `an instance of ${value}` : JSON.stringify(value),
      read: reader(key, matches),
      matches,
    });
  }
  return [...byName.values()];
}

/** The first condition that the request does not meet: to route is to ask whether there is one, to explain is to say which. */
export function unmet<D>(
  { conditions }: Candidate<D>,
  request: RoutedRequest,
): Condition | undefined {
  for (const condition of conditions) {
    const value = condition.read(request);
    if (value === undefined || !condition.matches(value)) return condition;
  }
  return undefined;
}
