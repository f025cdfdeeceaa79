/** Validation of an HTTPRoute: Gateway API's bounds, and what could never work (model, traps 7, 8, 11). */
import t from "tap";
import type { Problem } from "../../src/resources/kind.ts";
import { HTTP_ROUTE } from "../../src/resources/http-route/schema.ts";
import {
  problemsOf,
  resourceOf,
  runCases,
  type Case,
  type Expected,
} from "../support/resources/resource-cases.ts";

const parentRefs = [{ group: "mesh.wherry.dev", kind: "Service", name: "web" }];
const backendRefs = [{ name: "web", port: 80 }];

function many(count: number, make: (index: number) => object): object[] {
  return Array.from({ length: count }, (_, index) => make(index));
}
const ruled = (rule: object, ...expected: Expected[]): Case => [
  JSON.stringify(rule).slice(0, 120),
  { parentRefs, rules: [{ backendRefs, ...rule }] },
  ...expected,
];
const matched = (match: object, ...expected: Expected[]): Case =>
  ruled({ matches: [match] }, ...expected);
const path = (type: string, value: string, words?: RegExp): Case =>
  matched(
    { path: { type, value } },
    ...(words === undefined
      ? []
      : ([["spec.rules[0].matches[0].path.value", words]] as const)),
  );
const parent = (ref: object, ...expected: Expected[]): Case => [
  `parent ${JSON.stringify(ref)}`,
  { parentRefs: [ref], rules: [{ backendRefs }] },
  ...expected,
];

void t.test("parentRefs", (t) => {
  runCases(t, HTTP_ROUTE, [
    parent({ group: "", kind: "Service", name: "web" }),
    parent({ group: "core", kind: "Service", name: "web", port: 80 }),
    parent({
      group: "mesh.wherry.dev",
      kind: "Service",
      namespace: "other",
      name: "web",
      sectionName: "http",
    }),
    parent({ kind: "Service", name: "web" }),
    parent({ name: "web" }, [
      "spec.parentRefs[0].kind",
      /is required: Service/,
    ]),
    parent({ kind: "Gateway", name: "web" }, [
      "spec.parentRefs[0].kind",
      /"Gateway" is not one of Service/,
    ]),
    parent({ group: "gateway.networking.k8s.io", kind: "Service", name: "w" }, [
      "spec.parentRefs[0].group",
      /is not one of "", core, mesh.wherry.dev/,
    ]),
    parent({ kind: "Service", name: "web", port: 65_536 }, [
      "spec.parentRefs[0].port",
      /65536 is not a port number/,
    ]),
    [
      "none",
      { parentRefs: [], rules: [{ backendRefs }] },
      ["spec.parentRefs", /is empty/],
    ],
    [
      "the same twice",
      { parentRefs: [...parentRefs, ...parentRefs], rules: [{ backendRefs }] },
      ["spec.parentRefs[1]", /is there already/],
    ],
    [
      "more than 32",
      {
        parentRefs: many(33, (index) => ({
          kind: "Service",
          name: `s${index}`,
        })),
        rules: [{ backendRefs }],
      },
      ["spec.parentRefs", /has 33 entries, more than 32/],
    ],
    [
      "hostnames, with the advice (trap 8)",
      { parentRefs, hostnames: ["web"], rules: [{ backendRefs }] },
      ["spec.hostnames", /GEP-1294.*match the host header/],
    ],
  ]);
  t.end();
});

void t.test("rules and matches", (t) => {
  runCases(t, HTTP_ROUTE, [
    ["no rules", { parentRefs }, ["spec.rules", /is required/]],
    ["empty rules", { parentRefs, rules: [] }, ["spec.rules", /is empty/]],
    ["16 rules", { parentRefs, rules: many(16, () => ({ backendRefs })) }],
    [
      "17 rules",
      { parentRefs, rules: many(17, () => ({ backendRefs })) },
      ["spec.rules", /has 17 entries, more than 16/],
    ],
    ruled({ name: "all" }),
    ruled({ name: "All" }, ["spec.rules[0].name", /DNS-1123/]),
    [
      "two rules of one name",
      { parentRefs, rules: many(2, () => ({ name: "a", backendRefs })) },
      ["spec.rules[1].name", /a rule named "a" is there already/],
    ],
    ruled({ matches: [] }, ["spec.rules[0].matches", /is empty.*ambiguous/]),
    ruled({ matches: many(64, () => ({})) }),
    ruled({ matches: many(65, () => ({})) }, [
      "spec.rules[0].matches",
      /has 65 entries, more than 64/,
    ]),
    [
      "more than 128 matches together",
      {
        parentRefs,
        rules: many(3, () => ({ backendRefs, matches: many(43, () => ({})) })),
      },
      ["spec.rules", /129 matches together, more than 128/],
    ],
    matched({ method: "PATCH" }),
    matched({ method: "get" }, [
      "spec.rules[0].matches[0].method",
      /"get" is not one of GET.*did you mean "GET"/,
    ]),
    matched({ headers: [{ name: "x-user", value: "qa" }] }),
    matched({ headers: [{ name: "host", value: "web.shop" }] }),
    ...["Web.shop", "web.shop.", "web.shop:80"].map((value) =>
      matched({ headers: [{ name: "Host", value }] }, [
        "spec.rules[0].matches[0].headers[0].value",
        /would never match: .*write "web\.shop"/,
      ]),
    ),
    matched({ headers: [{ name: "host", value: "web..shop" }] }, [
      "spec.rules[0].matches[0].headers[0].value",
      /is not a host/,
    ]),
    matched({
      headers: [{ name: "host", type: "RegularExpression", value: "Web.*" }],
    }),
    matched({ path: { type: "RegularExpression", value: "/%C3[a-f]" } }),
    matched({
      headers: [{ type: "RegularExpression", name: "x", value: "q.+" }],
      queryParams: [{ type: "RegularExpression", name: "q", value: "^a$" }],
    }),
    matched({ headers: [] }, ["spec.rules[0].matches[0].headers", /is empty/]),
    matched({ headers: [{ name: ":path", value: "/" }] }, [
      "spec.rules[0].matches[0].headers[0].name",
      /":path" is not a header name/,
    ]),
    matched({ headers: [{ name: "x", value: "" }] }, [
      "spec.rules[0].matches[0].headers[0].value",
      /must not be empty/,
    ]),
    matched({ headers: [{ name: "x", value: "a".repeat(4097) }] }, [
      "spec.rules[0].matches[0].headers[0].value",
      /longer than 4096/,
    ]),
    matched({ headers: many(17, (i) => ({ name: `x${i}`, value: "1" })) }, [
      "spec.rules[0].matches[0].headers",
      /has 17 entries, more than 16/,
    ]),
    matched(
      {
        headers: [
          { name: "X-User", value: "a" },
          { name: "x-user", value: "b" },
        ],
      },
      ["spec.rules[0].matches[0].headers[1].name", /"x-user" is there already/],
    ),
    matched({ headers: [{ name: "x-wherry-reason", value: "a" }] }, [
      "spec.rules[0].matches[0].headers[0].name",
      /taken from the request before routing/,
    ]),
    matched({ headers: [{ name: "Connection", value: "close" }] }, [
      "spec.rules[0].matches[0].headers[0].name",
      /would never be true/,
    ]),
    matched(
      { headers: [{ type: "RegularExpression", name: "x", value: "(?=a)" }] },
      ["spec.rules[0].matches[0].headers[0].value", /RE2.*look-around/],
    ),
    matched({
      queryParams: [
        { name: "Q", value: "1" },
        { name: "q", value: "2" },
      ],
    }),
    matched(
      {
        queryParams: [
          { name: "q", value: "1" },
          { name: "q", value: "2" },
        ],
      },
      ["spec.rules[0].matches[0].queryParams[1].name", /is there already/],
    ),
    matched(
      { queryParams: [{ type: "RegularExpression", name: "q", value: "(" }] },
      ["spec.rules[0].matches[0].queryParams[0].value", /missing closing \)/],
    ),
    matched({ queryParams: [{ type: "Prefix", name: "q", value: "1" }] }, [
      "spec.rules[0].matches[0].queryParams[0].type",
      /not one of Exact, RegularExpression/,
    ]),
  ]);
  t.end();
});

void t.test("trap 7: path values", (t) => {
  runCases(t, HTTP_ROUTE, [
    path("PathPrefix", "/"),
    path("PathPrefix", "/api/"),
    path("Exact", "/a~b/%20c;v=1,2:3@4"),
    path("Exact", "/.well-known/..a"),
    path("RegularExpression", "/[a-z]+/(v1|v2)"),
    matched({ path: {} }),
    path("Exact", "api", /must start with "\/"/),
    path("PathPrefix", "/a//b", /must not contain "\/\/"/),
    path("Exact", "/a/./b", /the elements "\." or "\.\."/),
    path("Exact", "/a/../b", /the elements/),
    path("PathPrefix", "/a/..", /the elements/),
    path("PathPrefix", "/a/.", /the elements/),
    path("Exact", "/a%2Fb", /must not contain "%2F"/),
    path("PathPrefix", "/a%5cb", /must not contain "%5c"/),
    path("Exact", "/a#b", /must not contain "#"/),
    path("Exact", "/a?b=1", /must not contain "\?".*without query/),
    path("Exact", "/a b", /RFC 3986/),
    path("Exact", "/a%2", /RFC 3986/),
    path("Exact", "/é", /RFC 3986/),
    path("Exact", "", /must not be empty/),
    path("Exact", `/${"a".repeat(1024)}`, /longer than 1024/),
    path("RegularExpression", "(a", /not a regular expression of RE2/),
    path("RegularExpression", "((a{100}){100}){100}", /repeat count/),
    path("RegularExpression", "(a)\\1", /RE2/),
    path("PathPrefix", "/%61pi", /warning|%61.*NONE/),
    matched({ path: { type: "Prefix", value: "/" } }, [
      "spec.rules[0].matches[0].path.type",
      /did you mean|not one of Exact, PathPrefix, RegularExpression/,
    ]),
  ]);
  t.end();
});

void t.test("traps 10 and 11: backends, time-outs and retries", (t) => {
  const rule = "spec.rules[0]";
  const backend = (ref: object, ...expected: Expected[]): Case =>
    ruled({ backendRefs: [ref] }, ...expected);
  runCases(t, HTTP_ROUTE, [
    backend(
      {
        group: "core",
        kind: "Service",
        namespace: "other",
        name: "web",
        port: 80,
        weight: 0,
      },
      [`${rule}.backendRefs`, /weight 0 all.*500/],
    ),
    backend({ name: "web", port: 80, weight: 1_000_000 }),
    backend({ name: "web" }, [`${rule}.backendRefs[0].port`, /is required/]),
    backend({ name: "web", port: 80, weight: -1 }, [
      `${rule}.backendRefs[0].weight`,
      /-1 is below 0/,
    ]),
    backend({ name: "web", port: 80, weight: 1_000_001 }, [
      `${rule}.backendRefs[0].weight`,
      /is above 1000000/,
    ]),
    backend({ name: "web", port: 80, weight: 0.5 }, [
      `${rule}.backendRefs[0].weight`,
      /must be a whole number/,
    ]),
    backend({ kind: "ServiceImport", name: "web", port: 80 }, [
      `${rule}.backendRefs[0].kind`,
      /not one of Service/,
    ]),
    [
      "no backends at all",
      { parentRefs, rules: [{}] },
      [rule, /no backendRefs.*500/],
    ],
    ruled({ timeouts: { request: "2s", backendRequest: "800ms" } }),
    ruled({ timeouts: { request: "2s", backendRequest: "2s" } }),
    ruled({ timeouts: { request: "0s", backendRequest: "1h" } }),
    ruled({ timeouts: { backendRequest: "1m30s" } }),
    ruled({ timeouts: { request: "1s", backendRequest: "1001ms" } }, [
      `${rule}.timeouts.backendRequest`,
      /\(1001ms\) is longer than request \(1s\)/,
    ]),
    ruled({ timeouts: { request: "1.5s" } }, [
      `${rule}.timeouts.request`,
      /"1.5s" is not a duration such as/,
    ]),
    ruled({ timeouts: { request: "1d" } }, [
      `${rule}.timeouts.request`,
      /GEP-2257/,
    ]),
    ruled({ timeouts: { request: 5 } }, [
      `${rule}.timeouts.request`,
      /put it in quotes/,
    ]),
    ruled({ timeout: { request: "1s" } }, [
      `${rule}.timeout`,
      /did you mean "timeouts"\?/,
    ]),
    ruled({ retry: { codes: [502, 503], attempts: 3, backoff: "25ms" } }),
    ruled({ retry: { attempts: 0 } }),
    ruled({ retry: {} }),
    ruled({ retry: { codes: [] } }, [`${rule}.retry.codes`, /is empty/]),
    ruled({ retry: { codes: [200] } }, [
      `${rule}.retry.codes[0]`,
      /200 is below 400/,
    ]),
    ruled({ retry: { codes: [600] } }, [`${rule}.retry.codes[0]`, /above 599/]),
    ruled({ retry: { codes: [503, 503] } }, [
      `${rule}.retry.codes`,
      /the same value twice/,
    ]),
    ruled({ retry: { attempts: 11 } }, [
      `${rule}.retry.attempts`,
      /11 is above 10/,
    ]),
    ruled({ retry: { backoff: "0s" } }, [
      `${rule}.retry.backoff`,
      /must be above 0/,
    ]),
    ruled({ sessionPersistence: {} }, [
      `${rule}.sessionPersistence`,
      /is not supported by this version/,
    ]),
  ]);
  t.end();
});

void t.test("a warning of codes after which nothing is retried", (t) => {
  const retried = (codes: readonly number[]): readonly Problem[] =>
    problemsOf(
      resourceOf(HTTP_ROUTE, {
        parentRefs,
        rules: [{ backendRefs, retry: { codes } }],
      }),
    );
  for (const code of [400, 404, 408, 409, 425, 499])
    t.match(
      retried([429, code, 503]),
      [
        {
          path: "spec.rules[0].retry.codes[1]",
          message: /never retried.* 429 and 500 to 599/,
          severity: "warning",
        },
      ],
      String(code),
    );
  t.strictSame(retried([429, 500, 501, 503, 599]), []);
  t.end();
});

void t.test("a warning of escapes that no path is matched with", (t) => {
  for (const [value, words] of [
    ["/caf%c3.*", /holds %c3, but .* write %C3/],
    ["/caf%C3%a9", /write %A9/],
    ["/caf%C3%A9", undefined],
    ["/%[0-9a-f]{2}", undefined],
  ] as const) {
    const path = { type: "RegularExpression", value };
    const [problem] = problemsOf(
      resourceOf(HTTP_ROUTE, {
        parentRefs,
        rules: [{ backendRefs, matches: [{ path }] }],
      }),
    );
    t.match(problem?.message, words, value);
    t.equal(problem?.severity, words === undefined ? undefined : "warning");
  }
  t.end();
});
