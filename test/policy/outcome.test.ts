/** What became of an attempt, and what that does to retries (law 2, trap 12), the breaker, ejection and latency. */
import t from "tap";
import {
  EFFECTS,
  FAILURE_LATENCY,
  latencyOf,
  LONGEST_PENALTY,
  outcomeOfAnswer,
  outcomeOfFailure,
  parseReason,
  parseRetryAfter,
  type AnswerFacts,
  type Effects,
} from "../../src/policy/outcome.ts";
import { isRetryable } from "../../src/resources/http-route/spec.ts";
import type { OutcomeKind } from "../../src/mesh/codes.ts";
import type { Code } from "../../src/mesh/reasons.ts";

/** "Which outcome counts where", row by row: breaker, ejection, latency, retry. */
const EXPECTED: Readonly<
  Record<
    OutcomeKind,
    readonly [
      Effects["breaker"],
      Effects["ejection"],
      Effects["latency"],
      Effects["retry"],
    ]
  >
> = {
  answered: ["success", "success", "measured", "no"],
  "connect-failure": ["failure", "local-origin", "penalty", "any"],
  "application-unreachable": ["failure", "local-origin", "penalty", "any"],
  "machine-failure": ["none", "none", "none", "any"],
  "machine-reset": ["none", "none", "none", "idempotent"],
  unprocessed: ["none", "none", "none", "any"],
  "no-endpoint": ["none", "none", "none", "no"],
  "not-attempted": ["none", "none", "none", "no"],
  reset: ["failure", "failure", "penalty", "idempotent"],
  "cut-short": ["none", "failure", "penalty", "no"],
  "attempt-timeout": ["failure", "failure", "penalty", "idempotent"],
  "server-error": ["failure", "failure", "penalty", "asked"],
  throttled: ["none", "none", "penalty", "asked"],
  shed: ["none", "none", "none", "elsewhere"],
  "peer-refusal": ["none", "none", "none", "no"],
  "grpc-failure": ["failure", "failure", "penalty", "asked"],
  cancelled: ["none", "none", "none", "no"],
};

void t.test(
  "a route may ask for the statuses that are retried, and no others",
  (t) => {
    for (let status = 400; status <= 599; status += 1)
      t.equal(
        EFFECTS[outcomeOfAnswer({ status }).kind].retry === "asked",
        isRetryable(status),
        String(status),
      );
    t.end();
  },
);

void t.test("every outcome counts where the model says", (t) => {
  for (const [kind, effects] of Object.entries(EFFECTS)) {
    const { breaker, ejection, latency, retry } = effects;
    t.strictSame(
      [breaker, ejection, latency, retry],
      Object.entries(EXPECTED).find(([name]) => name === kind)?.[1],
      kind,
    );
  }
  t.end();
});

const ANSWERS: readonly [AnswerFacts, OutcomeKind, status?: number][] = [
  [{ status: 200 }, "answered"],
  [{ status: 304 }, "answered"],
  [{ status: 404 }, "answered"],
  [{ status: 499 }, "answered"],
  [{ status: 429 }, "throttled"],
  [{ status: 429, retryAfter: 1000 }, "throttled"],
  [{ status: 500 }, "server-error"],
  [{ status: 503 }, "server-error"],
  [{ status: 503, retryAfter: 0 }, "throttled"],
  [{ status: 502, retryAfter: 1000 }, "server-error"],
  [{ status: 599 }, "server-error"],
  [{ status: 200, grpcStatus: 0 }, "answered"],
  [{ status: 200, grpcStatus: 1 }, "answered"],
  [{ status: 200, grpcStatus: 5 }, "answered"],
  [{ status: 200, grpcStatus: 2 }, "grpc-failure", 500],
  [{ status: 200, grpcStatus: 4 }, "grpc-failure", 504],
  [{ status: 200, grpcStatus: 4, callerDeadlinePassed: true }, "cancelled"],
  [{ status: 200, grpcStatus: 8 }, "grpc-failure", 429],
  [{ status: 200, grpcStatus: 13 }, "grpc-failure", 500],
  [{ status: 200, grpcStatus: 14 }, "grpc-failure", 503],
  [
    { status: 200, grpcStatus: 14, callerDeadlinePassed: true },
    "grpc-failure",
    503,
  ],
  [{ status: 200, grpcStatus: 15 }, "grpc-failure", 500],
  // What the peer's own sidecar decided is not its application's doing.
  [{ status: 403, reason: "DENIED" }, "peer-refusal"],
  [{ status: 403, reason: "NOT_ALLOWED" }, "peer-refusal"],
  [{ status: 421, reason: "MISDIRECTED" }, "peer-refusal"],
  [{ status: 404, reason: "NO_ROUTE" }, "peer-refusal"],
  [{ status: 504, reason: "REQUEST_TIMEOUT" }, "peer-refusal"],
  [{ status: 503, reason: "OVERLOADED" }, "shed"],
  [{ status: 503, reason: "DRAINING" }, "shed"],
  [{ status: 503, reason: "NO_CONFIG" }, "shed"],
  [
    { status: 503, reason: "APPLICATION_UNREACHABLE" },
    "application-unreachable",
  ],
  [{ status: 503, reason: "CONNECT_FAILED" }, "application-unreachable"],
  [{ status: 503, reason: "MACHINE_ERROR" }, "shed"],
  [{ status: 502, reason: "UPSTREAM_RESET" }, "reset"],
  [{ status: 502, reason: "UPSTREAM_PROTOCOL" }, "reset"],
  [{ status: 504, reason: "ATTEMPT_TIMEOUT" }, "attempt-timeout"],
];

void t.test(
  "an answer is classified by its status, its gRPC status and the sidecar that made it",
  (t) => {
    for (const [answer, kind, status] of ANSWERS) {
      const outcome = outcomeOfAnswer(answer);
      t.equal(outcome.kind, kind, JSON.stringify(answer));
      t.equal(outcome.status, status ?? answer.status, JSON.stringify(answer));
    }
    t.end();
  },
);

const FAILURES: readonly [
  code: Code,
  unprocessed: boolean,
  responseBegan: boolean,
  kind: OutcomeKind,
][] = [
  ["CONNECT_FAILED", true, false, "connect-failure"],
  ["CONNECT_TIMEOUT", true, false, "connect-failure"],
  ["TLS_FAILED", true, false, "connect-failure"],
  ["WRONG_IDENTITY", true, false, "connect-failure"],
  ["APPLICATION_UNREACHABLE", true, false, "application-unreachable"],
  ["MACHINE_ERROR", true, false, "machine-failure"],
  ["MACHINE_ERROR", false, false, "machine-reset"],
  ["MACHINE_ERROR", false, true, "machine-reset"],
  ["STREAM_REFUSED", true, false, "unprocessed"],
  ["UPSTREAM_RESET", true, false, "unprocessed"],
  ["UPSTREAM_RESET", false, false, "reset"],
  ["UPSTREAM_RESET", false, true, "cut-short"],
  ["UPSTREAM_PROTOCOL", false, false, "reset"],
  ["UPSTREAM_PROTOCOL", false, true, "cut-short"],
  ["ATTEMPT_TIMEOUT", false, false, "attempt-timeout"],
  ["IDLE_TIMEOUT", false, true, "cut-short"],
  ["NO_ENDPOINT", true, false, "no-endpoint"],
  ["BREAKER_OPEN", true, false, "not-attempted"],
  ["OVERFLOW", true, false, "not-attempted"],
  ["CLIENT_CLOSED", false, false, "cancelled"],
  ["CLIENT_CLOSED", false, true, "cancelled"],
  ["REQUEST_TIMEOUT", false, false, "cancelled"],
  ["REQUEST_TIMEOUT", false, true, "cancelled"],
  ["BAD_REQUEST", false, false, "cancelled"],
];

void t.test(
  "a failure is classified by its code and by how far the exchange had come",
  (t) => {
    for (const [code, unprocessed, responseBegan, kind] of FAILURES)
      t.equal(
        outcomeOfFailure({ code, unprocessed, responseBegan }).kind,
        kind,
        `${code} ${unprocessed} ${responseBegan}`,
      );
    t.end();
  },
);

void t.test(
  "a failure counts as five seconds, or as long as it took or the endpoint asked for",
  (t) => {
    const latency = (
      kind: OutcomeKind,
      measured: number,
      retryAfter?: number,
    ): number | undefined =>
      latencyOf({ kind, status: undefined, retryAfter }, measured);
    t.equal(latency("answered", 7), 7);
    t.equal(latency("server-error", 1), FAILURE_LATENCY);
    t.equal(latency("attempt-timeout", 8000), 8000);
    t.equal(latency("throttled", 1, 12_000), 12_000);
    t.equal(latency("throttled", 1, 1000), FAILURE_LATENCY);
    t.equal(latency("throttled", 1, 1e12), LONGEST_PENALTY);
    t.equal(latency("unprocessed", 7), undefined);
    t.equal(latency("cancelled", 7), undefined);
    t.end();
  },
);

void t.test("Retry-After is seconds or an HTTP date", (t) => {
  const wall = Date.UTC(2026, 0, 1);
  for (const [text, ms] of [
    ["0", 0],
    ["120", 120_000],
    ["Thu, 01 Jan 2026 00:00:05 GMT", 5000],
    ["Thu, 01 Jan 2025 00:00:00 GMT", 0],
    ["-1", undefined],
    ["1.5", undefined],
    ["2026", 2_026_000],
    ["2026-01-01T00:00:05Z", undefined],
    ["Soon", undefined],
    ["", undefined],
    [undefined, undefined],
  ] as const)
    t.equal(parseRetryAfter(text, wall), ms, text ?? "absent");
  t.end();
});

void t.test("a reason is one of ours or none", (t) => {
  t.equal(parseReason("DENIED; policy=shop/x"), "DENIED");
  t.equal(parseReason("OVERLOADED"), "OVERLOADED");
  t.equal(parseReason("denied"), undefined);
  t.equal(parseReason("constructor"), undefined);
  t.equal(parseReason(""), undefined);
  t.equal(parseReason(undefined), undefined);
  t.end();
});
