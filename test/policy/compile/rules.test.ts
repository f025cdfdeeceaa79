/** Filters compiled: what is not there leaves nothing behind, and what leads nowhere is left out and said. */
import t from "tap";
import {
  type RouteDecision,
  type Snapshot,
} from "../../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { HTTPRouteRule } from "../../../src/resources/http-route/spec.ts";
import type { HTTPRouteFilter } from "../../../src/resources/route-filters/schema.ts";
import {
  httpRoute,
  request,
  self,
  service,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";

const BACKENDS = [{ name: "orders", port: 80 }];

function compile(...rules: readonly HTTPRouteRule[]): Snapshot {
  return compileSnapshot(
    [
      service("shop/orders"),
      service("shop/shadow"),
      service("shop/raw", { ports: [{ port: 6379, appProtocol: "tcp" }] }),
      httpRoute("shop/r", {
        parentRefs: [{ kind: "Service", name: "orders" }],
        rules,
      }),
    ],
    self(),
    VERSION,
  );
}

function decide(
  snapshot: Snapshot,
  path = "/",
  over: Parameters<typeof request>[1] = {},
): RouteDecision | undefined {
  return snapshot.destination("orders", 80)?.route(request(path, over), 0);
}

function filtered(...filters: readonly HTTPRouteFilter[]): Snapshot {
  return compile({ filters, backendRefs: BACKENDS });
}

const mirror = (name: string, percent?: number): HTTPRouteFilter => ({
  type: "RequestMirror",
  requestMirror: {
    backendRef: { name, port: name === "raw" ? 6379 : 80 },
    ...(percent === undefined ? {} : { percent }),
  },
});

void t.test("absent filters leave one undefined behind", (t) => {
  for (const snapshot of [
    compile({ backendRefs: BACKENDS }),
    filtered(mirror("shadow", 0)),
  ])
    t.match(decide(snapshot), {
      kind: "forward",
      extras: undefined,
      requestFilters: undefined,
      responseFilters: undefined,
    });
  t.end();
});

void t.test("mirrors: those that lead somewhere, each with its share", (t) => {
  const snapshot = filtered(
    mirror("shadow"),
    mirror("orders", 5),
    mirror("gone"),
    mirror("raw"),
  );
  t.match(decide(snapshot), {
    extras: {
      rewrite: undefined,
      cors: undefined,
      mirrors: [
        { cluster: { key: "shadow.shop:80" }, share: 1 },
        { cluster: { key: "orders.shop:80" }, share: 0.05 },
      ],
    },
  });
  t.match(snapshot.warnings, [
    /nothing is copied to gone\.shop:80: no Service here has it/,
    /nothing is copied to raw\.shop:6379: its appProtocol is tcp/,
  ]);
  t.end();
});

void t.test("the prefix that is rewritten is that of the rule's match", (t) => {
  const snapshot = compile({
    matches: [{ path: { type: "PathPrefix", value: "/api/" } }],
    filters: [
      {
        type: "URLRewrite",
        urlRewrite: {
          hostname: "inner",
          path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/v2/" },
        },
      },
    ],
    backendRefs: BACKENDS,
  });
  t.match(decide(snapshot, "/api/x"), {
    extras: {
      rewrite: {
        host: "inner",
        path: { kind: "prefix", length: 4, replacement: "/v2" },
      },
    },
  });
  t.end();
});

void t.test("a redirect needs no backend", (t) => {
  const snapshot = compile({
    filters: [{ type: "RequestRedirect", requestRedirect: { hostname: "b" } }],
  });
  t.match(decide(snapshot), {
    kind: "redirect",
    rule: { route: "shop/r", rule: 0, match: 0 },
    redirect: { status: 302, host: "b" },
  });
  t.strictSame(snapshot.warnings, []);
  t.end();
});

const CORS: HTTPRouteFilter = {
  type: "CORS",
  cors: { allowOrigins: ["https://a"] },
};

void t.test("a preflight meets the rule that its call would meet", (t) => {
  const snapshot = compile(
    {
      matches: [{ method: "PUT" }],
      filters: [CORS],
      backendRefs: [{ name: "gone", port: 80 }],
    },
    { matches: [{ path: { value: "/a" } }], backendRefs: BACKENDS },
  );
  const ask = (path: string, wanted: string): RouteDecision | undefined =>
    decide(snapshot, path, {
      method: "OPTIONS",
      headers: { origin: "https://a", "access-control-request-method": wanted },
    });
  t.match(
    ask("/", "PUT"),
    { kind: "preflight", rule: { rule: 0 } },
    "whatever becomes of its backend",
  );
  t.match(ask("/", "GET"), { kind: "refuse", code: "NO_ROUTE" });
  t.match(
    ask("/a", "GET"),
    { kind: "forward", rule: { rule: 1 } },
    "that rule has no CORS",
  );
  t.match(
    ask("/a", "PUT"),
    { kind: "forward" },
    "the prefix goes before the method",
  );
  t.match(decide(snapshot, "/", { method: "PUT" }), {
    code: "BACKEND_INVALID",
  });
  t.end();
});
