import t from "tap";
import { compileRouter } from "../../../src/policy/router/router.ts";
import {
  type RouteEntry,
  type RoutedRequest,
} from "../../../src/policy/router/candidate.ts";
import type { HTTPRouteMatch } from "../../../src/resources/http-route/spec.ts";
import { seededRandom } from "../../support/clocks/fake-clock.ts";
import { request } from "../../support/resources/policy-fixtures.ts";

type Options = Partial<Pick<RouteEntry<string>, "createdAt">> & {
  route?: string;
  rule?: number;
  index?: number;
};

/** An entry that leads to its own name. */
function entry(
  to: string,
  match: HTTPRouteMatch,
  options: Options = {},
): RouteEntry<string> {
  return {
    ref: {
      route: options.route ?? "shop/a",
      rule: options.rule ?? 0,
      match: options.index ?? 0,
    },
    createdAt: options.createdAt ?? 0,
    match,
    targets: [{ weight: 1, to }],
  };
}

const prefix = (value: string): HTTPRouteMatch => ({
  path: { type: "PathPrefix", value },
});
const exact = (value: string): HTTPRouteMatch => ({
  path: { type: "Exact", value },
});
const expression = (value: string): HTTPRouteMatch => ({
  path: { type: "RegularExpression", value },
});
const header = (
  name: string,
  value = "1",
): { name: string; value: string } => ({
  name,
  value,
});

/** In each row the first entry must win over the second, in whatever order they are given. */
const PRECEDENCE: readonly [
  why: string,
  request: RoutedRequest,
  winner: RouteEntry<string>,
  loser: RouteEntry<string>,
][] = [
  [
    "Exact before a PathPrefix with method and headers",
    request("/a/b", { headers: { "x-a": "1" } }),
    entry("win", exact("/a/b")),
    entry("lose", {
      ...prefix("/a/b"),
      method: "GET",
      headers: [header("x-a")],
    }),
  ],
  [
    "the longer PathPrefix, whatever else the shorter asks for",
    request("/a/b/c", { headers: { "x-a": "1" } }),
    entry("win", prefix("/a/b")),
    entry("lose", { ...prefix("/a"), method: "GET", headers: [header("x-a")] }),
  ],
  [
    "PathPrefix before RegularExpression",
    request("/a/b"),
    entry("win", prefix("/")),
    entry("lose", { ...expression("/a/b"), method: "GET" }),
  ],
  [
    "method before the number of headers",
    request("/", { headers: { "x-a": "1", "x-b": "1" } }),
    entry("win", { method: "GET" }),
    entry("lose", { headers: [header("x-a"), header("x-b")] }),
  ],
  [
    "more headers before more query parameters",
    request("/?p=1&q=1", { headers: { "x-a": "1" } }),
    entry("win", { headers: [header("x-a")] }),
    entry("lose", { queryParams: [header("p"), header("q")] }),
  ],
  [
    "more headers",
    request("/", { headers: { "x-a": "1", "x-b": "1" } }),
    entry("win", { headers: [header("x-a"), header("x-b")] }),
    entry("lose", { headers: [header("x-a")] }, { createdAt: -5 }),
  ],
  [
    "more query parameters before age",
    request("/?p=1&q=1"),
    entry("win", { queryParams: [header("p"), header("q")] }, { createdAt: 9 }),
    entry("lose", { queryParams: [header("p")] }, { createdAt: 1 }),
  ],
  [
    "the older route before the first name",
    request("/"),
    entry("win", {}, { createdAt: 1, route: "shop/z" }),
    entry("lose", {}, { createdAt: 2, route: "shop/a" }),
  ],
  [
    "the first name before the rule's order",
    request("/"),
    entry("win", {}, { route: "shop/a", rule: 7 }),
    entry("lose", {}, { route: "shop/b", rule: 0 }),
  ],
  [
    "the first rule of one route",
    request("/"),
    entry("win", {}, { rule: 0, index: 4 }),
    entry("lose", {}, { rule: 1, index: 0 }),
  ],
  [
    "the first match of one rule",
    request("/"),
    entry("win", {}, { index: 0 }),
    entry("lose", {}, { index: 1 }),
  ],
  [
    "a final slash makes no prefix longer",
    request("/abc/d"),
    entry("win", prefix("/abc"), { createdAt: 1 }),
    entry("lose", prefix("/abc/"), { createdAt: 2 }),
  ],
];

void t.test(
  "trap 8: each step of the precedence decides before the next",
  (t) => {
    for (const [why, asked, winner, loser] of PRECEDENCE)
      for (const entries of [
        [winner, loser],
        [loser, winner],
      ])
        t.equal(compileRouter(entries).route(asked, 0), "win", why);
    t.end();
  },
);

void t.test("trap 8: each match of a rule sorts by itself", (t) => {
  const router = compileRouter([
    entry("rule 0", prefix("/a"), { rule: 0, index: 0 }),
    entry("rule 0", exact("/z"), { rule: 0, index: 1 }),
    entry("rule 1", prefix("/a/b"), { rule: 1, index: 0 }),
    entry("rule 1", prefix("/"), { rule: 1, index: 1 }),
  ]);
  t.equal(router.route(request("/a/b/c"), 0), "rule 1");
  t.equal(router.route(request("/a/c"), 0), "rule 0");
  t.equal(router.route(request("/z"), 0), "rule 0");
  t.equal(router.route(request("/y"), 0), "rule 1");
  t.end();
});

/** Match, request, whether the one takes the other. */
const MATCHES: readonly [HTTPRouteMatch, RoutedRequest, boolean][] = [
  [prefix("/abc"), request("/abc"), true],
  [prefix("/abc"), request("/abc/"), true],
  [prefix("/abc"), request("/abc/d"), true],
  [prefix("/abc"), request("/abcd"), false],
  [prefix("/abc"), request("/ABC"), false],
  [prefix("/abc/"), request("/abc"), true],
  [prefix("/abc/"), request("/abcd"), false],
  [prefix("/a/b/c"), request("/a/b"), false],
  [prefix("/"), request("/anything//at/all"), true],
  [prefix("/a"), request("/a//b"), true],
  [prefix("/a"), request("//a"), false],
  [prefix("/"), request("*"), true],
  [prefix("/a"), request("*"), false],
  [{}, request("/x"), true],
  [{ path: {} }, request("/x"), true],
  [exact("/abc"), request("/abc"), true],
  [exact("/abc"), request("/abc/"), false],
  [exact("/abc"), request("/abc?x=1"), true],
  [expression("/v[0-9]+/.*"), request("/v12/orders"), true],
  [expression("/v[0-9]+"), request("/v12/orders"), false],
  [expression("v[0-9]+"), request("/v12"), false],
  [expression("/a|/b/c"), request("/b/c"), true],
  [expression("/a|/b"), request("/b/c"), false],
  [{ method: "POST" }, request("/", { method: "POST" }), true],
  [{ method: "POST" }, request("/"), false],
  [
    { headers: [header("X-A", "b")] },
    request("/", { headers: { "x-a": "b" } }),
    true,
  ],
  [
    { headers: [header("x-a", "b")] },
    request("/", { headers: { "x-a": "B" } }),
    false,
  ],
  [{ headers: [header("x-a", "b")] }, request("/"), false],
  [
    { headers: [{ name: "x-a", type: "RegularExpression", value: "b+" }] },
    request("/", { headers: { "x-a": "bbb" } }),
    true,
  ],
  [
    { headers: [{ name: "x-a", type: "RegularExpression", value: "b+" }] },
    request("/", { headers: { "x-a": "abbb" } }),
    false,
  ],
  // Only the first entry of a name counts (HTTPHeaderMatch).
  [
    { headers: [header("x-a", "1"), header("X-A", "2")] },
    request("/", { headers: { "x-a": "1" } }),
    true,
  ],
  [{ headers: [header("host", "orders.shop")] }, request("/"), true],
  [{ queryParams: [header("q", "1")] }, request("/?q=1"), true],
  [{ queryParams: [header("q", "1")] }, request("/?a=2&q=1&b"), true],
  [{ queryParams: [header("q", "1")] }, request("/?q=2&q=1"), false],
  [{ queryParams: [header("q", "1")] }, request("/?Q=1"), false],
  [{ queryParams: [header("q", "1")] }, request("/?qq=1"), false],
  [{ queryParams: [header("q", "1")] }, request("/?q"), false],
  [{ queryParams: [header("q", "1")] }, request("/"), false],
  [{ queryParams: [header("q", "a b")] }, request("/?%71=a%20b"), true],
  [{ queryParams: [header("q", "%zz")] }, request("/?q=%zz"), true],
  [
    {
      queryParams: [{ name: "q", type: "RegularExpression", value: "[0-9]*" }],
    },
    request("/?q"),
    true,
  ],
];

void t.test("trap 8: a match takes what Gateway API says it takes", (t) => {
  for (const [match, asked, expected] of MATCHES)
    t.equal(
      compileRouter([entry("yes", match)]).route(asked, 0) === "yes",
      expected,
      `${JSON.stringify(match)} ${asked.path}?${asked.query}`,
    );
  t.end();
});

void t.test(
  "a regular expression that would stall a backtracking engine takes no longer than another",
  (t) => {
    const router = compileRouter([entry("yes", expression("/(a+)+$"))]);
    t.equal(router.route(request(`/${"a".repeat(2000)}!`), 0), undefined);
    t.end();
  },
);

void t.test(
  "trap 10: backends get their share of the requests by weight",
  (t) => {
    const router = compileRouter([
      {
        ...entry("", {}),
        targets: [
          { weight: 0, to: "never" },
          { weight: 90, to: "v1" },
          { weight: 10, to: "v2" },
        ],
      },
    ]);
    const drawn = (random: number): string | undefined =>
      router.route(request("/"), random);
    t.equal(drawn(0), "v1");
    t.equal(drawn(0.8999), "v1");
    t.equal(drawn(0.9), "v2");
    t.equal(drawn(1 - Number.EPSILON / 2), "v2");
    const random = seededRandom(3);
    const count = 20_000;
    let v2 = 0;
    for (let index = 0; index < count; index += 1)
      if (drawn(random()) === "v2") v2 += 1;
    const deviation = Math.sqrt(count * 0.1 * 0.9);
    t.ok(Math.abs(v2 - count * 0.1) < 3 * deviation, `${v2} of ${count}`);
    t.end();
  },
);
