import t from "tap";
import type { Clock } from "../../src/core/clock.ts";
import { EFFECTS } from "../../src/policy/outcome.ts";
import type { OutcomeKind } from "../../src/mesh/codes.ts";
import {
  compileRetry,
  decideRetry,
  isRepeatable,
  LONGEST_RETRY_AFTER,
  retryBudget,
  type FailedAttempt,
  type RetryBudget,
  type RetryDecision,
  type RetryQuestion,
} from "../../src/policy/retry.ts";
import { MESH_DEFAULTS } from "../../src/resources/mesh/schema.ts";
import { TRAFFIC_DEFAULTS } from "../../src/resources/traffic-policy/settings.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { request } from "../support/resources/policy-fixtures.ts";

const DEFAULT = compileRetry(undefined, MESH_DEFAULTS.defaults.retry);
const ASKING = compileRetry(
  { codes: [502, 503], attempts: 2 },
  MESH_DEFAULTS.defaults.retry,
);
const OPEN: RetryBudget = {
  request: () => undefined,
  take: () => true,
  usage: () => ({ requests: 0, retries: 0 }),
};

function failed(
  kind: OutcomeKind,
  over: Partial<FailedAttempt> = {},
): FailedAttempt {
  return {
    kind,
    retry: EFFECTS[kind].retry,
    status: undefined,
    retryAfter: undefined,
    reusedConnection: false,
    ...over,
  };
}

function ask(
  attempt: FailedAttempt,
  over: Partial<RetryQuestion> = {},
  budget: RetryBudget = OPEN,
  clock: Clock = fakeClock({ random: () => 0.5 }),
): RetryDecision {
  return decideRetry(
    {
      policy: DEFAULT,
      attempt,
      repeatable: true,
      retries: 0,
      committed: false,
      replayable: true,
      otherEndpoint: true,
      deadline: Number.POSITIVE_INFINITY,
      now: 0,
      ...over,
    },
    budget,
    clock,
  );
}

/** "yes", or why not. */
function answer(decision: RetryDecision): string {
  return decision.retry ? "yes" : decision.reason;
}

const is503 = { status: 503 };
const reused = { reusedConnection: true };

/** Attempt, then the answer by (default policy, idempotent), (default, POST), (route asks, idempotent), (route asks, POST). */
const TABLE: readonly [FailedAttempt, string, string, string, string][] = [
  [failed("answered"), "outcome", "outcome", "outcome", "outcome"],
  [failed("connect-failure"), "yes", "yes", "yes", "yes"],
  [failed("application-unreachable"), "yes", "yes", "yes", "yes"],
  [failed("machine-failure"), "yes", "yes", "yes", "yes"],
  [
    failed("machine-reset", reused),
    "yes",
    "not-idempotent",
    "yes",
    "not-idempotent",
  ],
  [
    failed("machine-reset"),
    "not-asked",
    "not-idempotent",
    "yes",
    "not-idempotent",
  ],
  [failed("unprocessed", { refused: true }), "yes", "yes", "yes", "yes"],
  [failed("unprocessed", { refused: false }), "yes", "yes", "yes", "yes"],
  [failed("shed"), "yes", "yes", "yes", "yes"],
  [failed("reset", reused), "yes", "not-idempotent", "yes", "not-idempotent"],
  [failed("reset"), "not-asked", "not-idempotent", "yes", "not-idempotent"],
  [
    failed("attempt-timeout"),
    "not-asked",
    "not-idempotent",
    "yes",
    "not-idempotent",
  ],
  [failed("cut-short"), "outcome", "outcome", "outcome", "outcome"],
  [
    failed("server-error", is503),
    "not-asked",
    "not-idempotent",
    "yes",
    "not-idempotent",
  ],
  [
    failed("server-error", { status: 500 }),
    "not-asked",
    "not-idempotent",
    "not-asked",
    "not-idempotent",
  ],
  [
    failed("throttled", is503),
    "not-asked",
    "not-idempotent",
    "yes",
    "not-idempotent",
  ],
  [
    failed("grpc-failure", is503),
    "not-asked",
    "not-idempotent",
    "yes",
    "not-idempotent",
  ],
  [failed("peer-refusal", is503), "outcome", "outcome", "outcome", "outcome"],
  [failed("cancelled"), "outcome", "outcome", "outcome", "outcome"],
  [failed("no-endpoint"), "outcome", "outcome", "outcome", "outcome"],
  // The breaker's own 503 is no attempt (trap 12).
  [failed("not-attempted", is503), "outcome", "outcome", "outcome", "outcome"],
];

void t.test(
  "trap 12 and law 3: which failures are repeated, for which requests",
  (t) => {
    for (const [attempt, ...expected] of TABLE) {
      const cases = [
        { policy: DEFAULT, repeatable: true },
        { policy: DEFAULT, repeatable: false },
        { policy: ASKING, repeatable: true },
        { policy: ASKING, repeatable: false },
      ];
      for (const [index, over] of cases.entries())
        t.equal(
          answer(ask(attempt, over)),
          expected[index],
          `${attempt.kind} ${attempt.status ?? ""} case ${index}`,
        );
    }
    t.end();
  },
);

void t.test(
  "law 3: idempotent methods, or any with an idempotency-key",
  (t) => {
    for (const method of ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
      t.equal(isRepeatable(request("/", { method })), true, method);
    for (const method of ["POST", "PATCH", "CONNECT", "get", "PURGE"])
      t.equal(isRepeatable(request("/", { method })), false, method);
    const keyed = { method: "POST", headers: { "idempotency-key": "k" } };
    t.equal(isRepeatable(request("/", keyed)), true);
    t.end();
  },
);

void t.test("law 2: nothing is repeated once it is committed", (t) => {
  const attempt = failed("connect-failure");
  t.equal(answer(ask(attempt, { committed: true })), "committed");
  t.end();
});

void t.test(
  "trap 12: a body that cannot be sent again forbids the retry",
  (t) => {
    const attempt = failed("connect-failure");
    t.equal(answer(ask(attempt, { replayable: false })), "body");
    t.end();
  },
);

void t.test("attempts count retries", (t) => {
  const attempt = failed("connect-failure");
  t.equal(answer(ask(attempt, { retries: 1 })), "attempts");
  t.equal(answer(ask(attempt, { policy: ASKING, retries: 1 })), "yes");
  t.equal(answer(ask(attempt, { policy: ASKING, retries: 2 })), "attempts");
  t.end();
});

void t.test("what an endpoint shed is tried elsewhere or not at all", (t) => {
  t.equal(
    answer(ask(failed("shed"), { otherEndpoint: false })),
    "no-other-endpoint",
  );
  t.equal(
    answer(ask(failed("connect-failure"), { otherEndpoint: false })),
    "yes",
  );
  t.end();
});

void t.test(
  "a reason that the mesh's defaults leave out is not retried",
  (t) => {
    const policy = compileRetry(undefined, {
      attempts: 1,
      on: ["refused-stream"],
    });
    const rows: readonly [FailedAttempt, string][] = [
      [failed("connect-failure"), "not-asked"],
      [failed("unprocessed", { refused: true }), "yes"],
      [failed("unprocessed", { refused: false }), "not-asked"],
      [failed("reset", reused), "not-asked"],
    ];
    for (const [attempt, expected] of rows)
      t.equal(answer(ask(attempt, { policy })), expected, attempt.kind);
    t.end();
  },
);

void t.test("back-off grows from 25 to 250 ms with full jitter", (t) => {
  const waits = (random: number): number[] =>
    [0, 1, 2, 3, 4, 9].map((retries) => {
      const decision = ask(
        failed("connect-failure"),
        { policy: { ...DEFAULT, attempts: 99 }, retries },
        OPEN,
        fakeClock({ random: () => random }),
      );
      return decision.retry ? decision.after : -1;
    });
  t.strictSame(waits(1), [25, 50, 100, 200, 250, 250]);
  t.strictSame(waits(0), [0, 0, 0, 0, 0, 0]);
  t.end();
});

void t.test("a route's backoff is the least wait", (t) => {
  const policy = compileRetry(
    { backoff: "100ms", codes: [503] },
    MESH_DEFAULTS.defaults.retry,
  );
  t.equal(policy.attempts, 1, "the mesh's attempts where the route gives none");
  const decision = ask(failed("server-error", is503), { policy });
  t.strictSame(decision, { retry: true, after: 112.5 });
  t.end();
});

void t.test("Retry-After is waited for, but not without end", (t) => {
  const after = (retryAfter: number): RetryDecision =>
    ask(failed("throttled", { ...is503, retryAfter }), { policy: ASKING });
  t.strictSame(after(2000), { retry: true, after: 2000 });
  t.strictSame(after(1), { retry: true, after: 12.5 });
  t.equal(answer(after(LONGEST_RETRY_AFTER)), "yes");
  t.equal(answer(after(LONGEST_RETRY_AFTER + 1)), "retry-after");
  t.end();
});

void t.test("trap 11: no retry that the deadline would overtake", (t) => {
  const at = (deadline: number): string =>
    answer(ask(failed("connect-failure"), { deadline, now: 100 }));
  t.equal(at(112.4), "deadline");
  t.equal(at(112.5), "deadline");
  t.equal(at(113), "yes");
  t.end();
});

void t.test(
  "a retry that is refused for another reason costs nothing of the budget",
  (t) => {
    let taken = 0;
    const budget: RetryBudget = {
      ...OPEN,
      take: () => {
        taken += 1;
        return false;
      },
    };
    ask(failed("server-error", is503), {}, budget);
    ask(failed("connect-failure"), { deadline: 0 }, budget);
    ask(failed("connect-failure"), { retries: 1 }, budget);
    t.equal(taken, 0);
    t.equal(
      answer(ask(failed("machine-failure"), {}, budget)),
      "yes",
      "nothing was sent to the service",
    );
    t.equal(taken, 0);
    t.equal(answer(ask(failed("connect-failure"), {}, budget)), "budget");
    t.equal(taken, 1);
    t.end();
  },
);

void t.test(
  "the budget is a fifth of the window's requests, and ten a second besides",
  (t) => {
    const budget = retryBudget(TRAFFIC_DEFAULTS.retryConstraint);
    const takeAll = (now: number): number => {
      let taken = 0;
      while (taken < 10_000 && budget.take(now)) taken += 1;
      return taken;
    };
    t.equal(takeAll(0), 10, "a quiet client has the minimum");
    t.equal(takeAll(500), 5, "which comes back with time");
    for (let count = 0; count < 1000; count += 1) budget.request(500);
    t.equal(takeAll(500), 200, "a fifth of 1,000");
    t.strictSame(budget.usage(500), { requests: 1000, retries: 200 });
    t.equal(takeAll(9000), 10, "requests and retries are still in the window");
    t.equal(takeAll(10_600), 10, "and leave it together");
    t.strictSame(budget.usage(10_600), { requests: 0, retries: 0 });
    t.end();
  },
);

void t.test(
  "of several workers each allows its part of the minimum rate, and one retry at once where that is less",
  (t) => {
    const takeAll = (workers: number, count: number): number => {
      const budget = retryBudget(
        {
          budget: { percent: 20, interval: 10_000 },
          minRetryRate: { count, interval: 1000 },
        },
        workers,
      );
      let taken = 0;
      // A hundred seconds, looked at ten times a second.
      for (let now = 0; now < 100_000; now += 100)
        while (budget.take(now)) taken += 1;
      return taken;
    };
    for (const [workers, count, first] of [
      [1, 10, 10],
      [2, 10, 5],
      [20, 10, 1],
    ] as const) {
      const each = takeAll(workers, count);
      const part = (count / workers) * 100;
      t.ok(Math.abs(each - part - first) <= 1, `${each} of ${workers} workers`);
    }
    t.equal(takeAll(4, 0), 0, "none where there is no minimum");
    t.end();
  },
);

void t.test("the budget's window slides", (t) => {
  const budget = retryBudget({
    budget: { percent: 50, interval: 1000 },
    minRetryRate: { count: 0, interval: 1000 },
  });
  for (let now = 0; now < 1000; now += 100) budget.request(now);
  t.equal(budget.usage(950).requests, 10);
  t.equal(budget.usage(1050).requests, 9);
  t.equal(budget.usage(1550).requests, 4);
  t.equal(budget.take(1550), true);
  t.equal(budget.take(1550), true);
  t.equal(budget.take(1550), false, "half of four");
  t.equal(budget.take(1e9), false, "nothing without requests");
  t.end();
});

void t.test(
  "2,000 requests of which a split's half fail at 30 % are almost all saved within the default budget",
  (t) => {
    const budget = retryBudget(TRAFFIC_DEFAULTS.retryConstraint);
    const clock = fakeClock();
    let lost = 0;
    for (let count = 0; count < 2000; count += 1) {
      clock.advance(5);
      budget.request(clock.now());
      const flaky = count % 2 === 0;
      for (let retries = 0; flaky && clock.random() < 0.3; retries += 1) {
        const decision = ask(
          failed("server-error", is503),
          { policy: { ...ASKING, attempts: 3 }, retries, now: clock.now() },
          budget,
          clock,
        );
        if (decision.retry) continue;
        lost += 1;
        break;
      }
    }
    t.ok(lost <= 20, `${lost} lost`);
    t.end();
  },
);
