/** Law 9: every refusal, retry, ejection and break says why: to the caller, in the log, in a metric and on the span. */
import t, { type Test } from "tap";
import { REASONS } from "../../src/mesh/reasons.ts";
import type { Code } from "../../src/mesh/reasons.ts";
import { withPair, type Pair } from "../support/meshes/pair.ts";
import { keptLog } from "../support/laws/harness.ts";
import { route, traffic, type Row } from "../support/laws/reason-calls.ts";
import { NO_ANSWER, ROWS } from "../support/laws/reason-rows.ts";

/** Where a connection, a stranger or a page is refused: see test/laws/reasons-at-the-listeners.test.ts. */
const ELSEWHERE: readonly Code[] = [
  "HEADERS_TOO_LARGE",
  "EXPECTATION_FAILED",
  "MTLS_REQUIRED",
  "NO_CONFIG",
  "BAD_QUESTION",
  "NOT_LOCAL",
  "CROSS_SITE",
  "TOKEN_REQUIRED",
  "NO_PAGE",
  "NOT_READY",
];

async function holds(t: Test, row: Row, pair: Pair): Promise<void> {
  await row.before?.(pair);
  const answer = await (row.ask?.(pair) ?? pair.call(row.call));
  const value =
    row.policy === undefined ? row.code : `${row.code}; policy=${row.policy}`;
  t.equal(answer.status, row.status);
  t.ok(answer.reason?.startsWith(row.code), `header: ${answer.reason ?? ""}`);
  if (row.policy !== undefined) t.equal(answer.reason, value);
  const side = row.side ?? "outbound";
  const record = pair.log.find(
    ({ direction, reason }) => direction === side && reason === row.code,
  );
  t.match(record, { status: row.status }, "access log");
  if (row.policy !== undefined) t.equal(record?.policy, row.policy);
  const span = pair.spans.find(
    ({ kind, attributes }) =>
      kind === "server" &&
      attributes["wherry.direction"] === side &&
      attributes["wherry.reason"] === row.code,
  );
  t.ok(span, "span");
  if (row.policy !== undefined)
    t.equal(span?.attributes["wherry.policy"], row.policy);
  t.ok(
    (await pair.metric(
      side === "outbound" ? pair.caller : pair.callee,
      "wherry_requests_total",
      `status="${row.status}"`,
      `reason="${row.code}"`,
    )) >= 1,
    "metric",
  );
}

void t.test("law 9: every reason has a call that it is the answer to", (t) => {
  const here = [...ROWS.map(({ code }) => code), ...NO_ANSWER, ...ELSEWHERE];
  t.same([...here].sort(), Object.keys(REASONS).sort());
  t.end();
});

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
