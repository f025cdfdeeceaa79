/** Validation of the filters of routes: Gateway API's rules for each, and what could never work. */
import t from "tap";
import { HTTP_ROUTE } from "../../src/resources/http-route/schema.ts";
import {
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
const requestFilter = (
  requestHeaderModifier: object,
  ...expected: Expected[]
): Case =>
  ruled(
    { filters: [{ type: "RequestHeaderModifier", requestHeaderModifier }] },
    ...expected,
  );
void t.test("header modifiers", (t) => {
  const at = "spec.rules[0].filters[0]";
  const forbidden = [
    "Host",
    "content-length",
    "Transfer-Encoding",
    "connection",
    "upgrade",
    "te",
    "x-wherry-destination",
    "X-Forwarded-Client-Cert",
  ];
  runCases(t, HTTP_ROUTE, [
    requestFilter({
      set: [{ name: "x-canary", value: "1" }],
      add: [{ name: "via", value: "a b" }],
      remove: ["x-debug"],
    }),
    ruled({
      filters: [
        {
          type: "ResponseHeaderModifier",
          responseHeaderModifier: { remove: ["server"] },
        },
        {
          type: "RequestHeaderModifier",
          requestHeaderModifier: { remove: ["x"] },
        },
      ],
    }),
    ...forbidden.flatMap((name): Case[] => {
      const words = /header filter/;
      return [
        requestFilter({ set: [{ name, value: "1" }] }, [
          `${at}.requestHeaderModifier.set[0].name`,
          words,
        ]),
        requestFilter({ remove: [name] }, [
          `${at}.requestHeaderModifier.remove[0]`,
          words,
        ]),
        ruled(
          {
            filters: [
              {
                type: "ResponseHeaderModifier",
                responseHeaderModifier: { add: [{ name, value: "1" }] },
              },
            ],
          },
          [`${at}.responseHeaderModifier.add[0].name`, words],
        ),
      ];
    }),
    requestFilter({ set: [{ name: ":authority", value: "a" }] }, [
      `${at}.requestHeaderModifier.set[0].name`,
      /not a header name/,
    ]),
    requestFilter({ set: [{ name: "x", value: "a\r\nb: c" }] }, [
      `${at}.requestHeaderModifier.set[0].value`,
      /not a header value/,
    ]),
    requestFilter({ set: [{ name: "x", value: 1 }] }, [
      `${at}.requestHeaderModifier.set[0].value`,
      /put it in quotes/,
    ]),
    requestFilter({}, [`${at}.requestHeaderModifier`, /is empty/]),
    requestFilter({ remove: ["X", "x"] }, [
      `${at}.requestHeaderModifier.remove[1]`,
      /"x" is there already/,
    ]),
    requestFilter({ remove: many(17, (i) => ({ i })).map((_, i) => `x${i}`) }, [
      `${at}.requestHeaderModifier.remove`,
      /has 17 entries, more than 16/,
    ]),
    ruled({ filters: [{ type: "ResponseHeaderModifier" }] }, [
      `${at}.responseHeaderModifier`,
      /is required where type is ResponseHeaderModifier/,
    ]),
    ruled(
      {
        filters: [
          {
            type: "ResponseHeaderModifier",
            requestHeaderModifier: { remove: ["x"] },
            responseHeaderModifier: { remove: ["x"] },
          },
        ],
      },
      [`${at}.requestHeaderModifier`, /does not go with type Response/],
    ),
    ruled(
      {
        filters: many(2, () => ({
          type: "RequestHeaderModifier",
          requestHeaderModifier: { remove: ["x"] },
        })),
      },
      ["spec.rules[0].filters[1].type", /is there already/],
    ),
    requestFilter({ set: [{ name: "X", value: "1" }], remove: ["x"] }, [
      `${at}.requestHeaderModifier.remove[0]`,
      /"x" is in set already/,
    ]),
    ruled(
      { filters: [{ type: "ExtensionRef", extensionRef: {} }] },
      [`${at}.extensionRef`, /"extensionRef" is not supported by this version/],
      [`${at}.type`, /"ExtensionRef" is not one of/],
    ),
  ]);
  t.end();
});

const AT = "spec.rules[0].filters[0]";

void t.test("RequestMirror", (t) => {
  const mirror = (requestMirror: object, ...expected: Expected[]): Case =>
    ruled({ filters: [{ type: "RequestMirror", requestMirror }] }, ...expected);
  const backendRef = { name: "shadow", port: 80 };
  const at = `${AT}.requestMirror`;
  runCases(t, HTTP_ROUTE, [
    mirror({ backendRef }),
    mirror({ backendRef: { ...backendRef, namespace: "other" }, percent: 100 }),
    mirror({ backendRef, fraction: { numerator: 1, denominator: 1000 } }),
    mirror({ backendRef, fraction: { numerator: 100 } }),
    ruled({
      filters: many(3, () => ({
        type: "RequestMirror",
        requestMirror: { backendRef, percent: 1 },
      })),
    }),
    mirror({ percent: 1 }, [`${at}.backendRef`, /is required/]),
    mirror({ backendRef: { name: "shadow" } }, [
      `${at}.backendRef.port`,
      /is required/,
    ]),
    mirror({ backendRef, percent: 101 }, [`${at}.percent`, /above 100/]),
    mirror({ backendRef, percent: 1, fraction: { numerator: 1 } }, [
      `${at}.fraction`,
      /does not go with percent/,
    ]),
    mirror({ backendRef, fraction: { numerator: 101 } }, [
      `${at}.fraction.numerator`,
      /\(101\) is above the denominator \(100\)/,
    ]),
    mirror({ backendRef, fraction: { numerator: 1, denominator: 0 } }, [
      `${at}.fraction.denominator`,
      /below 1/,
    ]),
    mirror({ backendRef, percent: 0 }, [at, /copies nothing/]),
  ]);
  t.end();
});

void t.test("URLRewrite and RequestRedirect", (t) => {
  const rewrite = (urlRewrite: object, ...expected: Expected[]): Case =>
    ruled({ filters: [{ type: "URLRewrite", urlRewrite }] }, ...expected);
  const redirect = (requestRedirect: object, ...expected: Expected[]): Case =>
    ruled(
      {
        backendRefs: [],
        filters: [{ type: "RequestRedirect", requestRedirect }],
      },
      ...expected,
    );
  const whole = (replaceFullPath: string): object => ({
    path: { type: "ReplaceFullPath", replaceFullPath },
  });
  const prefix = (replacePrefixMatch: string): object => ({
    path: { type: "ReplacePrefixMatch", replacePrefixMatch },
  });
  const path = `${AT}.urlRewrite.path`;
  const to = `${AT}.requestRedirect`;
  runCases(t, HTTP_ROUTE, [
    rewrite({ hostname: "one.example" }),
    rewrite(whole("/a/b")),
    rewrite(prefix("/a/")),
    rewrite(prefix("")),
    rewrite({}, [`${AT}.urlRewrite`, /is empty/]),
    rewrite({ hostname: "*.example" }, [
      `${AT}.urlRewrite.hostname`,
      /DNS-1123/,
    ]),
    rewrite({ hostname: "one.example:80" }, [
      `${AT}.urlRewrite.hostname`,
      /DNS-1123/,
    ]),
    rewrite(whole("a"), [`${path}.replaceFullPath`, /must start with "\/"/]),
    rewrite(whole("/a?b"), [`${path}.replaceFullPath`, /must not contain/]),
    rewrite(prefix("/a/../b"), [`${path}.replacePrefixMatch`, /the elements/]),
    rewrite(prefix("/a\r\nx: y"), [`${path}.replacePrefixMatch`, /RFC 3986/]),
    rewrite({ path: { type: "ReplaceFullPath" } }, [
      `${path}.replaceFullPath`,
      /is required where type is ReplaceFullPath/,
    ]),
    rewrite(
      {
        path: {
          type: "ReplaceFullPath",
          replaceFullPath: "/",
          replacePrefixMatch: "/",
        },
      },
      [`${path}.replacePrefixMatch`, /does not go with type ReplaceFullPath/],
    ),
    ...[
      [{ path: { type: "Exact", value: "/a" } }],
      [{ path: { value: "/a" } }, { path: { value: "/b" } }],
    ].map((matches) =>
      ruled(
        {
          matches,
          filters: [{ type: "URLRewrite", urlRewrite: prefix("/x") }],
        },
        [`${path}.type`, /exactly one match, and that of a PathPrefix/],
      ),
    ),
    ruled({
      matches: [{ path: { type: "Exact", value: "/a" } }],
      filters: [{ type: "URLRewrite", urlRewrite: whole("/x") }],
    }),
    redirect({ scheme: "https", hostname: "a.b", port: 8443, statusCode: 308 }),
    redirect({ statusCode: 303, ...prefix("/x") }),
    redirect({}, [to, /is empty/]),
    redirect({ statusCode: 300 }, [`${to}.statusCode`, /not one of/]),
    redirect({ scheme: "ftp" }, [`${to}.scheme`, /not one of http, https/]),
    ruled(
      {
        filters: [{ type: "RequestRedirect", requestRedirect: { port: 81 } }],
      },
      ["spec.rules[0].backendRefs", /do not go with RequestRedirect/],
    ),
    ruled(
      {
        backendRefs: [],
        filters: [
          { type: "URLRewrite", urlRewrite: whole("/x") },
          { type: "RequestRedirect", requestRedirect: { port: 81 } },
        ],
      },
      ["spec.rules[0].filters[1].type", /does not go with URLRewrite/],
    ),
  ]);
  t.end();
});

void t.test("CORS", (t) => {
  const cors = (filter: object, ...expected: Expected[]): Case =>
    ruled({ filters: [{ type: "CORS", cors: filter }] }, ...expected);
  const at = `${AT}.cors`;
  const allowOrigins = ["https://a.example"];
  const origin = (value: string, words?: RegExp): Case =>
    cors(
      { allowOrigins: [value] },
      ...(words === undefined
        ? []
        : ([[`${at}.allowOrigins[0]`, words]] as const)),
    );
  runCases(t, HTTP_ROUTE, [
    cors({
      allowOrigins: ["https://a.example", "http://*.b.example:8080"],
      allowMethods: ["GET", "PATCH"],
      allowHeaders: ["x-a"],
      exposeHeaders: ["x-b", "*"],
      allowCredentials: true,
      maxAge: 600,
    }),
    origin("*"),
    origin("https://*"),
    origin("https://*:8443"),
    origin("a.example", /not an origin such as/),
    origin("https://a.example/", /not an origin/),
    origin("https://a.*.example", /not an origin/),
    origin("ftp://a.example", /not an origin/),
    origin("https://a.example:65536", /above 65535/),
    cors({ allowOrigins: ["*", "https://a"] }, [
      `${at}.allowOrigins`,
      /stands for all/,
    ]),
    cors({ allowOrigins, allowMethods: ["*", "GET"] }, [
      `${at}.allowMethods`,
      /stands for all/,
    ]),
    cors({ allowOrigins, allowHeaders: ["*", "x"] }, [
      `${at}.allowHeaders`,
      /stands for all/,
    ]),
    cors({ allowOrigins, allowMethods: ["get"] }, [
      `${at}.allowMethods[0]`,
      /not one of GET/,
    ]),
    cors({ allowOrigins, maxAge: 0 }, [`${at}.maxAge`, /below 1/]),
    cors({ allowMethods: ["PUT"] }, [at, /no page of another origin may call/]),
    ruled(
      { filters: many(2, () => ({ type: "CORS", cors: { allowOrigins } })) },
      ["spec.rules[0].filters[1].type", /is there already/],
    ),
  ]);
  t.end();
});

void t.test("filters of a backend", (t) => {
  const on = (filter: object, ...expected: Expected[]): Case =>
    ruled(
      { backendRefs: [{ name: "web", port: 80, filters: [filter] }] },
      ...expected,
    );
  const at = "spec.rules[0].backendRefs[0].filters[0]";
  runCases(t, HTTP_ROUTE, [
    on({
      type: "RequestHeaderModifier",
      requestHeaderModifier: { set: [{ name: "x", value: "1" }] },
    }),
    on(
      {
        type: "ResponseHeaderModifier",
        responseHeaderModifier: { remove: ["te"] },
      },
      [`${at}.responseHeaderModifier.remove[0]`, /header filter/],
    ),
    on(
      { type: "URLRewrite", urlRewrite: { hostname: "a" } },
      [`${at}.urlRewrite`, /put this one on the rule/],
      [`${at}.type`, /not one of/],
    ),
  ]);
  t.end();
});
