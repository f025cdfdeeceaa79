import t from "tap";
import {
  compileRouter,
  type RouteEntry,
  type RoutedRequest,
} from "../../src/policy/router.ts";
import type {
  HTTPMethod,
  HTTPRouteMatch,
} from "../../src/resources/http-route.ts";
import { seededRandom } from "../harness/fake-clock.ts";
import { request } from "./fixtures.ts";

/** Precedence as Gateway API's text has it, spelled out without any index: the slow truth to hold the router to. */
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
    (match.headers ?? []).every(
      (header) => asked.header(header.name) === header.value,
    ) &&
    (match.queryParams ?? []).every(
      (param) => params.get(param.name) === param.value,
    )
  );
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
const METHODS: readonly HTTPMethod[] = ["GET", "POST"];

void t.test(
  "trap 8: 2,000 random sets of routes go where a brute-force reading of Gateway API sends them",
  (t) => {
    const random = seededRandom(20_261);
    const below = (limit: number): number => Math.floor(random() * limit);
    const oneOf = <T>(list: readonly T[], otherwise: T): T =>
      list[below(list.length)] ?? otherwise;
    const some = (
      names: readonly string[],
    ): { name: string; value: string }[] =>
      names
        .filter(() => random() < 0.35)
        .map((name) => ({ name, value: String(below(2)) }));

    const randomMatch = (): HTTPRouteMatch => {
      const kind = random();
      const headers = some(["x-a", "x-b"]);
      const queryParams = some(["p", "q"]);
      return {
        ...(kind < 0.25
          ? { path: { type: "Exact", value: oneOf(PATHS, "/") } }
          : kind < 0.7
            ? { path: { type: "PathPrefix", value: oneOf(PATHS, "/") } }
            : kind < 0.85
              ? {
                  path: {
                    type: "RegularExpression",
                    value: oneOf(EXPRESSIONS, "/"),
                  },
                }
              : {}),
        ...(random() < 0.4 ? { method: oneOf(METHODS, "GET") } : {}),
        ...(headers.length > 0 ? { headers } : {}),
        ...(queryParams.length > 0 ? { queryParams } : {}),
      };
    };
    const randomRequest = (): RoutedRequest =>
      request(`${oneOf(PATHS, "/")}?p=${below(2)}&q=${below(2)}`, {
        method: oneOf(METHODS, "GET"),
        headers: { "x-a": String(below(2)), "x-b": String(below(2)) },
      });

    let differences = 0;
    let decided = 0;
    for (let set = 0; set < 2000; set += 1) {
      const entries: RouteEntry<string>[] = [];
      for (let route = 0; route < 1 + below(4); route += 1) {
        const createdAt = below(2);
        for (let rule = 0; rule < 1 + below(3); rule += 1)
          for (let match = 0; match < 1 + below(3); match += 1) {
            const ref = { route: `ns/${"zyxw"[route] ?? ""}`, rule, match };
            entries.push({
              ref,
              createdAt,
              match: randomMatch(),
              targets: [{ weight: 1, to: `${ref.route} ${rule} ${match}` }],
            });
          }
      }
      const router = compileRouter(entries);
      for (let ask = 0; ask < 8; ask += 1) {
        const asked = randomRequest();
        const expected = oracle(entries, asked);
        if (expected !== undefined) decided += 1;
        if (router.route(asked, 0) === expected) continue;
        differences += 1;
        if (differences < 4)
          t.fail(
            `${asked.method} ${asked.path}?${asked.query}: ${router.route(asked, 0) ?? "none"}, not ${expected ?? "none"}`,
            { entries },
          );
      }
    }
    t.equal(differences, 0);
    t.ok(decided > 8000, `${decided} of 16,000 requests met a match`);
    t.end();
  },
);
