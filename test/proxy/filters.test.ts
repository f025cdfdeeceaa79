/** The filters of HTTPRoute on the wire: what goes upstream, and what the mesh answers by itself (Gateway API, HTTPRouteFilter). */
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import type { SpanRecord } from "../../src/telemetry/tracing.ts";
import {
  resource,
  until,
  withPair,
  type Answer,
} from "../support/meshes/pair.ts";

const parentRefs = [
  { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
];
const backendRefs = [{ name: "orders", port: 80 }];

function route(...rules: object[]): Resource {
  return resource("HTTPRoute", "orders", { parentRefs, rules });
}

/** What the application got. */
function seen(answer: Answer): {
  url: string;
  headers: Record<string, string>;
} {
  return JSON.parse(answer.text) as ReturnType<typeof seen>;
}

void t.test(
  "URLRewrite: the normalised path is what is rewritten, and the application sees the new Host",
  async (t) => {
    const resources = [
      route({
        matches: [{ path: { type: "PathPrefix", value: "/api" } }],
        filters: [
          {
            type: "URLRewrite",
            urlRewrite: {
              hostname: "inner.example",
              path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/v2" },
            },
          },
        ],
        backendRefs,
      }),
    ];
    await withPair({ resources }, async (pair) => {
      const answer = await pair.call({ path: "//api/./x/%7Ey?a=%2F..&b" });
      t.match(seen(answer), {
        url: "/v2/x/~y?a=%2F..&b",
        headers: { host: "inner.example" },
      });
      t.match(
        pair.log.find(({ direction }) => direction === "outbound"),
        {
          path: "/api/x/~y",
          route: "shop/orders#0",
        },
      );
      const past = await pair.call({ path: "/api/../api/../../secret" });
      t.equal(past.reason, "NO_ROUTE", "no dots lead around the prefix");
    });
  },
);

void t.test(
  "URLRewrite: AuthorizationPolicy at the callee judges the path that it forwards",
  async (t) => {
    const resources = [
      route({
        filters: [
          {
            type: "URLRewrite",
            urlRewrite: {
              path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/in" },
            },
          },
        ],
        backendRefs,
      }),
      resource("AuthorizationPolicy", "deny", {
        action: "DENY",
        rules: [{ to: [{ operation: { paths: ["/in/admin"] } }] }],
      }),
    ];
    await withPair({ resources }, async (pair) => {
      t.equal(
        (await pair.call({ path: "/admin" })).reason,
        "DENIED; policy=shop/deny",
      );
      t.equal(seen(await pair.call({ path: "/other" })).url, "/in/other");
    });
  },
);

void t.test(
  "RequestRedirect answers in place of a backend, with its status and Location",
  async (t) => {
    const redirect = (
      path: string,
      requestRedirect: object,
      ...more: object[]
    ): object => ({
      matches: [{ path: { type: "PathPrefix", value: path } }],
      filters: [{ type: "RequestRedirect", requestRedirect }, ...more],
    });
    const resources = [
      route(
        redirect("/a", { hostname: "other.shop", statusCode: 301 }),
        redirect(
          "/b",
          { scheme: "https", statusCode: 308 },
          {
            type: "ResponseHeaderModifier",
            responseHeaderModifier: { set: [{ name: "x-by", value: "mesh" }] },
          },
        ),
        redirect("/c", {
          path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/new" },
        }),
      ),
    ];
    await withPair({ resources }, async (pair) => {
      const table = [
        ["/a/x?y=1", 301, "http://other.shop/a/x?y=1"],
        ["/b", 308, "https://orders.shop/b"],
        ["/c//d", 302, "http://orders.shop/new/d"],
      ] as const;
      for (const [path, status, location] of table) {
        const answer = await pair.call({ path, method: "POST", body: "body" });
        t.match(answer, { status, headers: { location }, text: "" });
        t.equal(answer.reason, undefined, "it is no refusal");
      }
      t.equal((await pair.call({ path: "/b" })).headers["x-by"], "mesh");
      t.equal(
        await pair.metric(pair.caller, "wherry_requests_total", 'status="301"'),
        1,
      );
      t.equal(
        await pair.metric(pair.callee, "wherry_requests_total"),
        0,
        "nothing went out",
      );
    });
  },
);

void t.test(
  "filters of a backend act on its share, after those of the rule",
  async (t) => {
    const modify = (type: "request" | "response", changes: object): object => ({
      type: `${type === "request" ? "Request" : "Response"}HeaderModifier`,
      [`${type}HeaderModifier`]: changes,
    });
    const resources = [
      resource("Service", "canary", {
        ports: [{ name: "http", port: 80 }],
        selector: { app: "orders" },
      }),
      route({
        filters: [
          modify("request", { set: [{ name: "x-of", value: "rule" }] }),
          modify("response", { set: [{ name: "x-share", value: "rule" }] }),
        ],
        backendRefs: [
          { name: "orders", port: 80, weight: 0 },
          {
            name: "canary",
            port: 80,
            filters: [
              modify("request", { add: [{ name: "x-of", value: "canary" }] }),
              modify("response", {
                add: [{ name: "x-backend", value: "canary" }],
              }),
            ],
          },
        ],
      }),
    ];
    await withPair({ resources }, async (pair) => {
      const answer = await pair.call();
      t.equal(seen(answer).headers["x-of"], "rule, canary");
      t.match(answer.headers, { "x-share": "rule", "x-backend": "canary" });
    });
  },
);

const cors = {
  type: "CORS",
  cors: {
    allowOrigins: ["https://*.example"],
    allowMethods: ["GET", "PUT"],
    allowHeaders: ["x-token"],
    allowCredentials: true,
    maxAge: 60,
  },
};

void t.test(
  "CORS: a preflight is answered here, for the rule that would take the call",
  async (t) => {
    const resources = [
      route(
        { matches: [{ method: "PUT" }], filters: [cors], backendRefs },
        { matches: [{ path: { value: "/plain" } }], backendRefs },
      ),
    ];
    await withPair({ resources }, async (pair) => {
      const asked = {
        origin: "https://a.example",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "x-token",
      };
      const leave = await pair.call({ method: "OPTIONS", headers: asked });
      t.match(leave, {
        status: 204,
        text: "",
        headers: {
          "access-control-allow-origin": "https://a.example",
          "access-control-allow-credentials": "true",
          "access-control-allow-methods": "GET, PUT",
          "access-control-allow-headers": "x-token",
          "access-control-max-age": "60",
        },
      });
      t.notOk("content-length" in leave.headers, "RFC 9110 8.6: 204 has none");
      t.equal(await pair.metric(pair.callee, "wherry_requests_total"), 0);

      const stranger = await pair.call({
        method: "OPTIONS",
        headers: { ...asked, origin: "https://example" },
      });
      t.equal(stranger.status, 204);
      t.notOk("access-control-allow-origin" in stranger.headers);

      const other = await pair.call({
        method: "OPTIONS",
        path: "/plain",
        headers: { ...asked, "access-control-request-method": "DELETE" },
      });
      t.equal(
        seen(other).url,
        "/plain",
        "without the filter it is a request like any other",
      );
    });
  },
);

void t.test(
  "CORS: the answer to the call itself says who may read it, whatever the application says",
  async (t) => {
    await withPair(
      {
        app: () => (_request, response) => {
          response.setHeader("access-control-allow-origin", "*");
          response.end("data");
        },
        resources: [route({ filters: [cors], backendRefs })],
      },
      async (pair) => {
        const call = async (origin?: string): Promise<Answer> =>
          pair.call({ headers: origin === undefined ? {} : { origin } });
        t.match((await call("https://a.example")).headers, {
          "access-control-allow-origin": "https://a.example",
          "access-control-allow-credentials": "true",
          vary: "origin",
        });
        const stranger = await call("https://b.test");
        t.equal(stranger.text, "data", "the browser keeps it from the page");
        t.notOk("access-control-allow-origin" in stranger.headers);
        t.match((await call()).headers, { vary: "origin" });
      },
    );
  },
);

/** What the mesh answers itself, and by what. */
const REFUSALS: readonly (readonly [
  string,
  number,
  readonly Resource[],
  boolean?,
])[] = [
  ["a backend that does not exist", 500, [corsTo("nobody")]],
  ["no instance", 503, [corsTo("orders")], true],
  [
    "a fault on purpose",
    418,
    [
      corsTo("orders"),
      resource("FaultInjection", "teapot", {
        targetRefs: [{ kind: "Service", name: "orders" }],
        abort: { httpStatus: 418, percentage: 100 },
        expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
      }),
    ],
  ],
];

function corsTo(name: string): Resource {
  return route({ filters: [cors], backendRefs: [{ name, port: 80 }] });
}

for (const [what, status, resources, alone] of REFUSALS)
  void t.test(
    `CORS: a refusal of our own says who may read it, too: ${what}`,
    async (t) => {
      await withPair(
        { resources, ...(alone === true ? { instances: 0 } : {}) },
        async (pair) => {
          const answer = await pair.call({
            headers: { origin: "https://a.example" },
          });
          t.match(answer, {
            status,
            headers: {
              "access-control-allow-origin": "https://a.example",
              "access-control-allow-credentials": "true",
              vary: "origin",
            },
          });
          const stranger = await pair.call({
            headers: { origin: "https://b.test" },
          });
          t.equal(stranger.status, status);
          t.notOk("access-control-allow-origin" in stranger.headers);
        },
      );
    },
  );

void t.test("weights change without connection churn", async (t) => {
  const service = (name: string): Resource =>
    resource("Service", name, {
      ports: [{ name: "http", port: 80 }],
      selector: { app: "orders" },
    });
  const split = (v1: number, v2: number): Resource[] => [
    service("v1"),
    service("v2"),
    route({
      backendRefs: [
        { name: "v1", port: 80, weight: v1 },
        { name: "v2", port: 80, weight: v2 },
      ],
    }),
  ];
  await withPair({ resources: split(1, 1) }, async (pair) => {
    let links = 0;
    const made = (): Promise<number> =>
      pair.metric(pair.callee, "wherry_connections{", 'kind="link"');
    for (let round = 0; round < 5; round += 1) {
      pair.apply(split(100 - 20 * round, 20 * round));
      for (let call = 0; call < 4; call += 1)
        t.equal((await pair.call()).status, 200);
      links = Math.max(links, await made());
    }
    t.equal(links, 1, "one connection all the time");
  });
});

void t.test(
  "the span says which route, and to which Service it led",
  async (t) => {
    const next = resource("Service", "next", {
      ports: [{ name: "http", port: 80 }],
      selector: { app: "orders" },
    });
    const to = (name: string): object => ({
      matches: [{ path: { value: `/${name}` } }],
      backendRefs: [{ name, port: 80 }],
    });
    const routes = route(to("next"), to("nobody"), { backendRefs });
    await withPair({ resources: [next, routes] }, async (pair) => {
      const facts = async (path: string): Promise<unknown> => {
        pair.spans.length = 0;
        await pair.call({ path });
        const isServer = ({ kind, attributes }: SpanRecord): boolean =>
          kind === "server" && attributes["wherry.direction"] === "outbound";
        await until(() => pair.spans.some(isServer));
        const attributes = pair.spans.find(isServer)?.attributes;
        return ["route", "backend", "policy"].map(
          (fact) => attributes?.[`wherry.${fact}`],
        );
      };
      t.strictSame(await facts("/next"), [
        "shop/orders#0",
        "next.shop:80",
        undefined,
      ]);
      t.strictSame(
        await facts("/nobody"),
        ["shop/orders#1", undefined, "shop/orders"],
        "refused: by which rule",
      );
      t.strictSame(
        await facts("/"),
        ["shop/orders#2", undefined, undefined],
        "the backend is the Service that was called",
      );
    });
  },
);
