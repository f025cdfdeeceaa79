/** The CORS filter by Gateway API's HTTPCORSFilter and Fetch 3.2. */
import t from "tap";
import {
  compileCors,
  corsEdits,
  isPreflight,
  preflightFields,
  type CrossOriginRequest,
} from "../../../src/policy/routing/cors.ts";
import type { CORS } from "../../../src/resources/route-filters/schema.ts";

const SHOP = "https://shop.example";

function from(
  origin: string | undefined,
  more: Record<string, string> = {},
  method = "GET",
): CrossOriginRequest {
  const headers: Record<string, string | undefined> = { origin, ...more };
  return { method, header: (name) => headers[name] };
}

function preflight(
  filter: CORS,
  more: Record<string, string> = {},
): Record<string, string> {
  const asked = { "access-control-request-method": "PUT", ...more };
  return Object.fromEntries(
    preflightFields(compileCors(filter), from(SHOP, asked, "OPTIONS")).map(
      ({ name, value }) => [name, value],
    ),
  );
}

/** Allowed, and origins that are and are not. */
const ORIGINS: readonly (readonly [
  string,
  readonly string[],
  readonly string[],
])[] = [
  [
    "https://shop.example",
    [
      "https://shop.example",
      "HTTPS://Shop.Example",
      "https://shop.example:443",
    ],
    [
      "http://shop.example",
      "https://shop.example:8443",
      "https://a.shop.example",
      "null",
      "https://shop.example.evil",
    ],
  ],
  [
    "http://shop.example:80",
    ["http://shop.example"],
    ["http://shop.example:8080"],
  ],
  [
    "https://shop.example:8443",
    ["https://shop.example:8443"],
    ["https://shop.example"],
  ],
  [
    "https://*.shop.example",
    ["https://a.shop.example", "https://a.b.shop.example"],
    [
      "https://shop.example",
      "http://a.shop.example",
      "https://.evil/.shop.example",
      "https://a.shop.example:8443",
      "https://x:1.shop.example",
      "https://ashop.example",
    ],
  ],
  [
    "https://*",
    ["https://a.b", "https://c"],
    ["http://a.b", "https://a.b:8443"],
  ],
  [
    "https://*:8443",
    ["https://a.b:8443"],
    ["https://a.b", "https://a.b:18443"],
  ],
  ["*", ["https://a.b", "http://c:1", "null"], []],
];

void t.test(
  "an origin is allowed as it is written, or by a star for its labels",
  (t) => {
    for (const [allowed, yes, no] of ORIGINS) {
      const policy = compileCors({
        allowOrigins: [allowed],
        allowCredentials: true,
      });
      for (const [origins, expected] of [
        [yes, true],
        [no, false],
      ] as const)
        for (const origin of origins)
          t.equal(
            corsEdits(policy, from(origin)).set.length > 0,
            expected,
            `${allowed}: ${origin}`,
          );
    }
    t.end();
  },
);

void t.test("a preflight is OPTIONS with both of its fields", (t) => {
  const asks = { "access-control-request-method": "PUT" };
  t.ok(isPreflight(from(SHOP, asks, "OPTIONS")));
  t.notOk(isPreflight(from(SHOP, asks, "POST")));
  t.notOk(isPreflight(from(undefined, asks, "OPTIONS")));
  t.notOk(isPreflight(from(SHOP, {}, "OPTIONS")));
  t.end();
});

void t.test("a preflight is told what is allowed", (t) => {
  t.strictSame(
    preflight({
      allowOrigins: [SHOP],
      allowMethods: ["GET", "PUT"],
      allowHeaders: ["X-One", "x-two"],
      exposeHeaders: ["x-three"],
      maxAge: 600,
    }),
    {
      "access-control-allow-origin": SHOP,
      "access-control-allow-methods": "GET, PUT",
      "access-control-allow-headers": "x-one, x-two",
      "access-control-max-age": "600",
      vary: "origin, access-control-request-method, access-control-request-headers",
    },
  );
  const least = preflight({ allowOrigins: [SHOP] });
  t.equal(least["access-control-max-age"], "5", "Gateway API's default");
  t.notOk("access-control-allow-methods" in least);
  t.notOk("access-control-allow-headers" in least);
  t.end();
});

void t.test("a preflight of another origin is told nothing", (t) => {
  t.strictSame(Object.keys(preflight({ allowOrigins: ["https://b"] })), [
    "vary",
  ]);
  t.strictSame(
    Object.keys(preflight({ allowMethods: ["PUT"] })),
    ["vary"],
    "no origin is allowed",
  );
  t.end();
});

void t.test(
  "the star of methods and headers is said by name where credentials are allowed",
  (t) => {
    const all: CORS = {
      allowOrigins: ["*"],
      allowMethods: ["*"],
      allowHeaders: ["*"],
    };
    t.match(preflight(all), {
      "access-control-allow-origin": "*",
      "access-control-allow-methods": "*",
      "access-control-allow-headers": "*",
    });
    const credentials = { ...all, allowCredentials: true };
    const told = preflight(credentials, {
      "access-control-request-headers": "x-a, x-b",
    });
    t.match(told, {
      "access-control-allow-origin": SHOP,
      "access-control-allow-credentials": "true",
      "access-control-allow-methods": "PUT",
      "access-control-allow-headers": "x-a, x-b",
    });
    t.notOk(
      "access-control-allow-headers" in preflight(credentials),
      "not asked for",
    );
    t.notOk(
      "access-control-allow-headers" in
        preflight(credentials, {
          "access-control-request-headers": 'x-a; x="b"',
        }),
      "what is no list of names is not said back",
    );
    t.end();
  },
);

void t.test("the answer to the call itself", (t) => {
  const policy = compileCors({
    allowOrigins: [SHOP],
    allowCredentials: true,
    exposeHeaders: ["X-Id", "*"],
  });
  const allowed = corsEdits(policy, from(SHOP));
  t.strictSame(allowed.set, [
    { name: "access-control-allow-origin", value: SHOP },
    { name: "access-control-allow-credentials", value: "true" },
    { name: "access-control-expose-headers", value: "x-id" },
  ]);
  t.strictSame(allowed.add, [{ name: "vary", value: "origin" }]);

  const other = corsEdits(policy, from("https://b"));
  t.strictSame(other.set, []);
  t.ok(
    other.remove.has("access-control-allow-origin"),
    "nor does the application's own word let it in",
  );
  t.match(corsEdits(policy, from(undefined)), {
    set: [],
    add: [{ name: "vary" }],
    remove: new Set(),
  });
  const everyone = corsEdits(compileCors({ allowOrigins: ["*"] }), from(SHOP));
  t.match(everyone, { set: [{ value: "*" }], add: [] }, "the same for all");
  t.ok(everyone.remove.has("access-control-allow-credentials"));
  t.end();
});
