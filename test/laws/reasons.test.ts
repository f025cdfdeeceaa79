/** Law 9: every refusal, retry, ejection and break says why: to the caller, in the log, in a metric and on the span. */
import type { Socket } from "node:net";
import t, { type Test } from "tap";
import {
  resource,
  withPair,
  type CallOptions,
  type Pair,
  type PairOptions,
} from "../harness/pair.ts";
import { keptLog } from "./harness.ts";

type Resources = NonNullable<PairOptions["resources"]>;

function route(spec: Record<string, unknown>): Resources[number] {
  return resource("HTTPRoute", "orders", {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
    rules: [{ backendRefs: [{ name: "orders", port: 80 }], ...spec }],
  });
}

function traffic(spec: Record<string, unknown>): Resources[number] {
  return resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    ...spec,
  });
}

const forOrders = { selector: { matchLabels: { app: "orders" } } };

interface Row {
  readonly code: string;
  readonly status: number;
  readonly pair?: PairOptions;
  readonly call?: CallOptions;
  readonly policy?: string;
  before?(pair: Pair): Promise<void> | void;
}

const raw =
  (act: (socket: Socket) => void): (() => (socket: Socket) => void) =>
  () =>
  (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => act(socket));
  };

const ROWS: readonly Row[] = [
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
    async before(pair) {
      for (let count = 0; count < 3; count += 1) await pair.call();
      pair.log.length = 0;
      pair.spans.length = 0;
    },
  },
];

async function holds(t: Test, row: Row, pair: Pair): Promise<void> {
  await row.before?.(pair);
  const answer = await pair.call(row.call);
  const value =
    row.policy === undefined ? row.code : `${row.code}; policy=${row.policy}`;
  t.equal(answer.status, row.status);
  t.ok(answer.reason?.startsWith(row.code), `header: ${answer.reason ?? ""}`);
  if (row.policy !== undefined) t.equal(answer.reason, value);
  const record = pair.log.find(({ direction }) => direction === "outbound");
  t.match(
    record,
    { reason: row.code, status: row.status },
    "access log of the caller's side",
  );
  if (row.policy !== undefined) t.equal(record?.policy, row.policy);
  const span = pair.spans.find(
    ({ kind, attributes }) =>
      kind === "server" && attributes["wherry.direction"] === "outbound",
  );
  t.equal(span?.attributes["wherry.reason"], row.code, "span");
  if (row.policy !== undefined)
    t.equal(span?.attributes["wherry.policy"], row.policy);
  t.ok(
    (await pair.metric(
      pair.caller,
      "wherry_requests_total",
      `status="${row.status}"`,
      `reason="${row.code}"`,
    )) >= 1,
    "metric",
  );
}

for (const row of ROWS)
  void t.test(
    `law 9: ${row.code} is ${row.status}, and says so in header, log, span and metric`,
    (t) => withPair(row.pair ?? {}, (pair) => holds(t, row, pair)),
  );

void t.test(
  "law 9: a retry says why in log, span and metric, and the refusal to retry does in its metric",
  async (t) => {
    let count = 0;
    await withPair(
      {
        app: () => (_request, response) => {
          count += 1;
          response.statusCode = count <= 2 ? 503 : 200;
          response.end();
        },
        resources: [
          route({ retry: { codes: [503], attempts: 2, backoff: "1ms" } }),
        ],
      },
      async (pair) => {
        t.equal((await pair.call()).status, 200);
        const record = pair.log.find(
          ({ direction }) => direction === "outbound",
        );
        t.match(record, {
          attempts: 3,
          retried: "server-error, server-error",
        });
        const server = pair.spans.find(
          ({ kind, attributes }) =>
            kind === "server" && attributes["wherry.direction"] === "outbound",
        );
        t.equal(
          server?.attributes["wherry.retried"],
          "server-error, server-error",
        );
        const failed = pair.spans.filter(
          ({ kind, attributes, error }) =>
            kind === "client" &&
            attributes["wherry.direction"] === "outbound" &&
            error !== undefined,
        );
        t.equal(failed.length, 2, "each failed attempt has its span");
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_retries_total",
            'reason="server-error"',
          ),
          2,
        );
        count = 0;
        t.equal((await pair.call({ method: "POST" })).status, 503);
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_retries_refused_total",
            'reason="not-idempotent"',
          ),
          1,
        );
      },
    );
  },
);

void t.test(
  "law 9: an ejection and an opened breaker say why in log and metric",
  async (t) => {
    const { logger, lines } = keptLog();
    await withPair(
      {
        instances: 2,
        caller: { logger },
        app: () => (_request, response) => {
          response.statusCode = 500;
          response.end();
        },
        resources: [
          traffic({
            outlierDetection: { consecutive5xxErrors: 2 },
            circuitBreaker: { volumeThreshold: 8, errorThresholdPercent: 50 },
          }),
        ],
      },
      async (pair) => {
        for (let count = 0; count < 10; count += 1) await pair.call();
        t.match(
          lines.find(({ msg }) => msg === "endpoint ejected"),
          {
            destination: "orders.shop:80",
            endpoint: /orders-/,
            reason: "consecutive-5xx",
            evidence: /./,
          },
        );
        t.equal(
          await pair.metric(
            pair.caller,
            "wherry_ejections_total",
            'reason="consecutive-5xx"',
          ),
          1,
        );
        t.match(
          lines.find(({ state }) => state === "open"),
          { destination: "orders.shop:80", calls: 8, failures: 8 },
        );
        t.equal(
          await pair.metric(pair.caller, "wherry_breaker_opened_total"),
          1,
        );
      },
    );
  },
);
