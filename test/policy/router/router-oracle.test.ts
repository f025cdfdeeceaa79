/** The router against the slow truth: Gateway API's order of precedence, spelled out without any index, on random sets of routes. */
import fc from "fast-check";
import t from "tap";
import { compileRouter } from "../../../src/policy/router/router.ts";
import {
  type RouteEntry,
  type RoutedRequest,
} from "../../../src/policy/router/candidate.ts";
import type {
  HeaderMatch,
  HTTPRouteMatch,
  PathMatch,
} from "../../../src/resources/http-route/spec.ts";
import { request } from "../../support/resources/policy-fixtures.ts";

/** What the text says, read without any index. */
function oracle(
  entries: readonly RouteEntry<string>[],
  asked: RoutedRequest,
): string | undefined {
  const rank = { Exact: 0, PathPrefix: 1, RegularExpression: 2 };
  const keys = (entry: RouteEntry<string>): (number | string)[] => {
    const { type = "PathPrefix", value = "/" } = entry.match.path ?? {};
    return [
      rank[type],
      type === "PathPrefix" ? -value.replace(/\/$/, "").length : 0,
      entry.match.method === undefined ? 1 : 0,
      -(entry.match.headers?.length ?? 0),
      -(entry.match.queryParams?.length ?? 0),
      entry.createdAt,
      entry.ref.route,
      entry.ref.rule,
      entry.ref.match,
    ];
  };
  const [best] = entries
    .filter((entry) => takes(entry.match, asked))
    .sort((left, right) => {
      const theirs = keys(right);
      for (const [index, mine] of keys(left).entries()) {
        const other = theirs[index] ?? 0;
        if (mine !== other) return mine < other ? -1 : 1;
      }
      return 0;
    });
  return best?.targets[0]?.to;
}

function takes(match: HTTPRouteMatch, asked: RoutedRequest): boolean {
  const { type = "PathPrefix", value = "/" } = match.path ?? {};
  const params = new URLSearchParams(asked.query);
  const elements = (path: string): string[] =>
    path.replace(/\/$/, "").split("/");
  const path = {
    Exact: () => asked.path === value,
    PathPrefix: () =>
      elements(value).every(
        (element, index) => element === asked.path.split("/")[index],
      ),
    RegularExpression: () => new RegExp(`^(?:${value})$`).test(asked.path),
  }[type]();
  return (
    path &&
    (match.method === undefined || match.method === asked.method) &&
    (match.headers ?? []).every((header) =>
      meets(header, asked.header(header.name)),
    ) &&
    (match.queryParams ?? []).every((param) =>
      meets(param, params.get(param.name) ?? undefined),
    )
  );
}

function meets(
  { type, value }: HeaderMatch,
  actual: string | undefined,
): boolean {
  if (actual === undefined) return false;
  return type === "RegularExpression"
    ? new RegExp(`^(?:${value})$`).test(actual)
    : actual === value;
}

const PATHS = [
  "/",
  "/a",
  "/a/",
  "/ab",
  "/a/b",
  "/a/b/",
  "/a/b/c",
  "/b",
  "/b/c",
];
const EXPRESSIONS = ["/a.*", "/[ab]", "/a/b(/c)?", ".*", "/b/.+"];

const path: fc.Arbitrary<PathMatch | undefined> = fc.oneof(
  { weight: 2, arbitrary: fc.constant(undefined) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("Exact" as const),
      value: fc.constantFrom(...PATHS),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant("PathPrefix" as const),
      value: fc.constantFrom(...PATHS),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("RegularExpression" as const),
      value: fc.constantFrom(...EXPRESSIONS),
    }),
  },
);

/** At most one match of each name. */
function values(names: readonly string[]): fc.Arbitrary<HeaderMatch[]> {
  return fc.uniqueArray(
    fc.record({
      name: fc.constantFrom(...names),
      type: fc.constantFrom("Exact" as const, "RegularExpression" as const),
      value: fc.constantFrom("0", "1", "0|1"),
    }),
    { selector: ({ name }) => name, maxLength: names.length, size: "-1" },
  );
}

const match: fc.Arbitrary<HTTPRouteMatch> = fc
  .record({
    path,
    method: fc.constantFrom(
      "GET" as const,
      "POST" as const,
      undefined,
      undefined,
    ),
    headers: values(["x-a", "x-b"]),
    queryParams: values(["p", "q"]),
  })
  .map((parts) => ({
    ...(parts.path === undefined ? {} : { path: parts.path }),
    ...(parts.method === undefined ? {} : { method: parts.method }),
    ...(parts.headers.length === 0 ? {} : { headers: parts.headers }),
    ...(parts.queryParams.length === 0
      ? {}
      : { queryParams: parts.queryParams }),
  }));

/** Routes, in each its age and its rules, in each its matches. */
const routes = fc.array(
  fc.record({
    createdAt: fc.nat({ max: 1 }),
    rules: fc.array(fc.array(match, { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 3,
    }),
  }),
  { minLength: 1, maxLength: 4 },
);

const asked: fc.Arbitrary<RoutedRequest> = fc
  .record({
    path: fc.constantFrom(...PATHS),
    method: fc.constantFrom("GET", "POST"),
    digits: fc.array(fc.constantFrom("0", "1", "2"), {
      minLength: 4,
      maxLength: 4,
    }),
  })
  .map(({ path, method, digits: [a = "", b = "", p = "", q = ""] }) =>
    request(`${path}?p=${p}&q=${q}`, {
      method,
      headers: { "x-a": a, "x-b": b },
    }),
  );

void t.test(
  "trap 8: 10,000 random sets of routes go where a brute-force reading of Gateway API sends them",
  (t) => {
    let decided = 0;
    fc.assert(
      fc.property(
        routes,
        fc.array(asked, { minLength: 4, maxLength: 8 }),
        (set, requests) => {
          const entries = set.flatMap(({ createdAt, rules }, index) =>
            rules.flatMap((matches, rule) =>
              matches.map((match, matchIndex): RouteEntry<string> => {
                const ref = {
                  route: `ns/${"zyxw"[index] ?? ""}`,
                  rule,
                  match: matchIndex,
                };
                const to = `${ref.route} ${rule} ${matchIndex}`;
                return { ref, createdAt, match, targets: [{ weight: 1, to }] };
              }),
            ),
          );
          const router = compileRouter(entries);
          for (const each of requests) {
            const expected = oracle(entries, each);
            if (expected !== undefined) decided += 1;
            const found = router.route(each, 0);
            if (found !== expected)
              throw new Error(
                `${each.method} ${each.path}?${each.query}: ${found ?? "none"}, not ${expected ?? "none"}`,
              );
          }
        },
      ),
      { numRuns: 10_000, seed: 20_261_125 },
    );
    t.ok(decided > 20_000, `${decided} requests met a match`);
    t.end();
  },
);
