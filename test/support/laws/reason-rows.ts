/** Each reason that a call can be answered with, and how such a call comes about. */
import { performServerHandshake } from "node:http2";
import type { Code } from "../../../src/mesh/reasons.ts";
import { makeField } from "../../../src/wire/fields.ts";
import { failConnects } from "../faults/connect-faults.ts";
import { overLink } from "../peers/over-link.ts";
import { resource, until, type Pair } from "../meshes/pair.ts";
import { snapshotWith } from "../meshes/snapshot-with.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { ISSUER, keySetText, testKey, token } from "../tokens/issuer.ts";

import {
  askDenied,
  asking,
  route,
  traffic,
  forOrders,
  raw,
  REFUSED_STREAM,
  to,
  firstOf,
  payments,
  open,
  type Row,
  type Told,
} from "./reason-calls.ts";

const tokenKey = await testKey("ES256", "k1");

function jwt(rule: Readonly<Record<string, unknown>>): Resource {
  const usual = { issuer: ISSUER, jwks: keySetText(tokenKey) };
  const jwtRules = [
    JSON.parse(JSON.stringify({ ...usual, ...rule })) as object,
  ];
  return resource("RequestAuthentication", "jwt", { ...forOrders, jwtRules });
}

/** Those that are never the answer to a call: nobody is there to be told, or the answer has begun. */
export const NO_ANSWER: readonly Code[] = [
  "CLIENT_CLOSED",
  "RESPONSE_STALLED",
  "DRAINING",
];

/** Calls that an application has, and does not answer. */
let held = 0;

export const ROWS: readonly Row[] = [
  {
    code: "DENIED",
    status: 403,
    policy: "shop/no",
    pair: {
      resources: [
        resource("AuthorizationPolicy", "no", {
          ...forOrders,
          action: "DENY",
          rules: [{}],
        }),
      ],
    },
  },
  {
    code: "NOT_ALLOWED",
    status: 403,
    policy: "shop/nobody",
    pair: { resources: [resource("AuthorizationPolicy", "nobody", forOrders)] },
  },
  {
    code: "REVOKED",
    status: 403,
    pair: { app: () => () => void (held += 1) },
    ask: async (pair: Pair): Promise<Told> => {
      const call = pair.call({ method: "POST" });
      await until(() => held > 0);
      const identity = pair.authority.id("orders");
      pair.apply([resource("Revocation", "stolen", { identity })]);
      return call;
    },
  },
  {
    code: "TOKEN_INVALID",
    status: 401,
    policy: "shop/jwt",
    call: { headers: { authorization: "Bearer a.b.c" } },
    pair: { resources: [jwt({})] },
  },
  {
    code: "TOKEN_AUDIENCE",
    status: 403,
    policy: "shop/jwt",
    call: { headers: { authorization: `Bearer ${await token(tokenKey)}` } },
    pair: { resources: [jwt({ audiences: ["bank"] })] },
  },
  {
    code: "TOKEN_KEYS_UNAVAILABLE",
    status: 401,
    policy: "shop/jwt",
    call: { headers: { authorization: `Bearer ${await token(tokenKey)}` } },
    pair: {
      // A private address that the Mesh does not allow: nothing is fetched.
      resources: [jwt({ jwks: undefined, jwksUri: "http://127.0.0.1:9/" })],
    },
  },
  {
    code: "PROVIDER_FAILED",
    status: 403,
    policy: "shop/ask",
    pair: { resources: [asking("nobody")] },
  },
  {
    code: "PROVIDER_DENIED",
    status: 404,
    policy: "shop/ask",
    ask: askDenied,
  },
  {
    code: "NO_ROUTE",
    status: 404,
    pair: {
      resources: [
        route({
          matches: [{ path: { type: "Exact", value: "/only" } }],
        }),
      ],
    },
  },
  {
    code: "BACKEND_INVALID",
    status: 500,
    policy: "shop/orders",
    pair: {
      resources: [route({ backendRefs: [{ name: "nowhere", port: 80 }] })],
    },
  },
  { code: "BAD_REQUEST", status: 400, call: { path: "/%00" } },
  {
    code: "NO_ENDPOINT",
    status: 503,
    call: { host: "empty.shop" },
    pair: {
      resources: [
        resource("Service", "empty", {
          ports: [{ port: 80 }],
          selector: { app: "nobody" },
        }),
      ],
    },
  },
  {
    code: "UNKNOWN_DESTINATION",
    status: 502,
    call: { host: "127.0.0.1:9" },
    pair: { mesh: { outboundTrafficPolicy: "REGISTRY_ONLY" } },
  },
  {
    code: "APPLICATION_UNREACHABLE",
    status: 503,
    before: (pair) => void pair.instances[0]?.app.close(),
  },
  {
    code: "CONNECT_FAILED",
    status: 503,
    before: (pair) => pair.callee.destroy(),
  },
  {
    code: "MACHINE_ERROR",
    status: 503,
    ask: async (pair: Pair): Promise<Told> => {
      const faults = failConnects(pair.callee.ports.link ?? 0, "EMFILE");
      return pair.call().finally(() => faults.release());
    },
  },
  {
    code: "UPSTREAM_RESET",
    status: 503,
    call: { method: "POST" },
    pair: { rawApp: raw((socket) => socket.resetAndDestroy()) },
  },
  {
    code: "UPSTREAM_PROTOCOL",
    status: 502,
    call: { method: "POST" },
    pair: { rawApp: raw((socket) => socket.end("no HTTP at all\r\n\r\n")) },
  },
  {
    code: "REQUEST_TIMEOUT",
    status: 504,
    pair: {
      app: () => () => undefined,
      resources: [route({ timeouts: { request: "50ms" } })],
    },
  },
  {
    code: "ATTEMPT_TIMEOUT",
    status: 504,
    call: { method: "POST" },
    pair: {
      app: () => () => undefined,
      resources: [
        route({ timeouts: { request: "5s", backendRequest: "50ms" } }),
      ],
    },
  },
  {
    code: "BREAKER_OPEN",
    status: 503,
    pair: {
      app: () => (_request, response) => {
        response.statusCode = 500;
        response.end();
      },
      resources: [
        traffic({
          circuitBreaker: { volumeThreshold: 2, errorThresholdPercent: 50 },
        }),
      ],
    },
    before: async (pair: Pair): Promise<void> => {
      for (let count = 0; count < 3; count += 1) await pair.call();
      pair.log.length = 0;
      pair.spans.length = 0;
    },
  },
  {
    code: "LOOP",
    status: 508,
    ask: (pair) =>
      pair.call({ host: `127.0.0.1:${pair.caller.ports.outbound ?? 0}` }),
  },
  {
    code: "UNSUPPORTED",
    status: 501,
    call: {
      host: "elsewhere.example",
      path: "https://elsewhere.example/",
    },
  },
  {
    code: "INTERNAL",
    status: 500,
    before: ({ callerAgent: { snapshot } }: Pair): void => {
      const destination = (): never => {
        throw new TypeError("a defect");
      };
      snapshot.set(snapshotWith(snapshot.value, { destination }));
    },
  },
  {
    code: "OVERFLOW",
    status: 503,
    pair: {
      app: () => () => undefined,
      resources: [
        traffic({
          connectionPool: {
            tcp: { maxConnections: 1 },
            http: { http1MaxPendingRequests: 1 },
          },
        }),
      ],
    },
    ask: (pair) => firstOf(pair, 3),
  },
  {
    code: "BODY_TOO_LARGE",
    status: 413,
    policy: "shop/orders",
    pair: { resources: [traffic({ maxRequestBodyBytes: 4 })] },
    call: { method: "POST", body: "12345" },
  },
  {
    code: "RATE_LIMITED",
    status: 429,
    policy: "shop/orders",
    pair: {
      resources: [traffic({ rateLimit: { requests: 1, interval: "1h" } })],
    },
    before: async (pair: Pair): Promise<void> => {
      await pair.call();
    },
  },
  {
    code: "SHED",
    status: 503,
    policy: "shop/orders",
    pair: {
      app: () => () => undefined,
      resources: [
        traffic({
          adaptiveConcurrency: {
            mode: "ENFORCE",
            minConcurrency: 1,
            maxConcurrency: 1,
          },
        }),
      ],
    },
    ask: (pair) => firstOf(pair, 8),
  },
  {
    code: "TUNNEL_REFUSED",
    status: 405,
    side: "inbound",
    ask: (pair) =>
      overLink(pair, "web", { method: "CONNECT", authority: "orders.shop:80" }),
  },
  {
    code: "FAULT_INJECTED",
    status: 503,
    policy: "shop/chaos",
    pair: {
      resources: [
        resource("FaultInjection", "chaos", {
          targetRefs: [{ kind: "Service", name: "orders" }],
          expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
          abort: { httpStatus: 503, percentage: 100 },
        }),
      ],
    },
  },
  {
    code: "OVERLOADED",
    status: 503,
    pair: { caller: { limits: { memoryBytes: 1 } } },
    ask: async (pair: Pair): Promise<Told> => {
      // A connection that was there before: new ones are closed without a word.
      const early = await open(pair);
      while ((await pair.metric(pair.caller, "wherry_overload_level")) < 3);
      return early("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
    },
  },
  {
    code: "REQUEST_STALLED",
    status: 408,
    pair: { mesh: { defaults: { timeouts: { streamIdle: "200ms" } } } },
    ask: async (pair: Pair): Promise<Told> => {
      const early = await open(pair);
      return early(
        "POST / HTTP/1.1\r\nHost: orders.shop\r\nContent-Length: 10\r\n\r\nhalf",
      );
    },
  },
  {
    code: "IDLE_TIMEOUT",
    status: 504,
    call: { method: "POST" },
    pair: {
      app: () => () => undefined,
      mesh: { defaults: { timeouts: { streamIdle: "200ms" } } },
    },
  },
  {
    code: "STREAM_REFUSED",
    status: 503,
    pair: {
      appProtocol: "http2",
      rawApp: () => (socket) => {
        performServerHandshake(socket)
          .on("error", () => undefined)
          .on("stream", (stream) => {
            stream.on("error", () => undefined);
            stream.close(REFUSED_STREAM);
          });
      },
    },
  },
  {
    code: "WRONG_IDENTITY",
    status: 503,
    ask: (pair) => payments(pair, pair.callee.ports.link),
  },
  {
    code: "TLS_FAILED",
    status: 503,
    pair: { rawApp: raw((socket) => socket.end("no TLS at all\r\n\r\n")) },
    ask: (pair) => payments(pair, pair.instances[0]?.appPort),
  },
  {
    code: "CONNECT_TIMEOUT",
    status: 503,
    pair: { rawApp: raw(() => undefined) },
    ask: (pair) =>
      payments(pair, pair.instances[0]?.appPort, [
        route({ timeouts: { backendRequest: "50ms" } }, "payments"),
      ]),
  },
  {
    code: "MISDIRECTED",
    status: 421,
    side: "inbound",
    ask: (pair) => overLink(pair, "web", { fields: [to("payments.shop:80")] }),
  },
  {
    code: "DEADLINE_EXCEEDED",
    status: 504,
    side: "inbound",
    ask: (pair) =>
      overLink(pair, "web", {
        fields: [to("orders.shop:80"), makeField("x-wherry-deadline", "0")],
      }),
  },
];
