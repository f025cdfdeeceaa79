/** What follows an attempt that failed: another after its pause, or none, and the record says why. The decisions themselves are policy's. */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import type { OutcomeKind } from "../../../src/mesh/codes.ts";
import { EFFECTS, type Outcome } from "../../../src/policy/outcome.ts";
import { compileRetry } from "../../../src/policy/retry.ts";
import {
  Repeats,
  type RepeatedExchange,
} from "../../../src/proxy/exchange/repeats.ts";
import { MESH_DEFAULTS } from "../../../src/resources/mesh/schema.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const failed = (kind: OutcomeKind): Outcome => ({
  kind,
  status: undefined,
  retryAfter: undefined,
});

/** Exchanges of this go to three endpoints. */
const ENDPOINTS = 3;

function setUp(differs: Partial<RepeatedExchange> = {}): {
  repeats: Repeats;
  clock: ReturnType<typeof fakeClock>;
  told: string[];
  attempt: (key: string) => Parameters<Repeats["decide"]>[0];
} {
  const clock = fakeClock({ random: () => 0.5 });
  const told: string[] = [];
  const repeats = new Repeats({
    host: { clock },
    plan: {
      retry: compileRetry({ attempts: 5 }, MESH_DEFAULTS.defaults.retry),
      budget: {
        request: () => undefined,
        take: () => true,
        usage: () => ({ requests: 0, retries: 0 }),
      },
      repeatable: true,
      hasOther: (tried) => tried.size < ENDPOINTS,
    },
    record: {
      attempts: 1,
      repeated: (reason) => told.push(`repeated: ${reason}`),
      notRepeated: (reason) => told.push(`not repeated: ${reason}`),
    },
    spent: { enter: (phase) => told.push(phase) },
    deadline: Infinity,
    caller: { committed: false, replayable: true },
    ...differs,
  });
  const attempt = (key: string): Parameters<Repeats["decide"]>[0] => ({
    target: { key },
    failure: (outcome, error) => ({
      ...outcome,
      retry: EFFECTS[outcome.kind].retry,
      refused: error?.code === "STREAM_REFUSED",
      reusedConnection: false,
    }),
  });
  return { repeats, clock, told, attempt };
}

void t.test("endpoints that failed are kept, and asked for once", (t) => {
  const { repeats, told, attempt } = setUp();
  t.equal(repeats.tried.size, 0);
  for (const key of ["one", "two", "two"])
    t.ok(repeats.decide(attempt(key), failed("shed"), undefined), key);
  t.same([...repeats.tried], ["one", "two"]);
  t.equal(
    repeats.decide(attempt("three"), failed("shed"), undefined),
    undefined,
    "who sheds is not asked again, and there is no other",
  );
  t.same(told, ["not repeated: no-other-endpoint"]);
  t.end();
});

const REFUSED: readonly (readonly [
  reason: string,
  differs: Partial<RepeatedExchange>,
])[] = [
  ["committed", { caller: { committed: true, replayable: true } }],
  ["body", { caller: { committed: false, replayable: false } }],
  ["deadline", { deadline: 1 }],
];
for (const [reason, differs] of REFUSED)
  void t.test(`no repeat, and the record has why: ${reason}`, (t) => {
    const { repeats, told, attempt } = setUp(differs);
    const error = new MeshError("STREAM_REFUSED", "", { source: "upstream" });
    t.equal(
      repeats.decide(attempt("one"), failed("unprocessed"), error),
      undefined,
    );
    t.same(told, [`not repeated: ${reason}`]);
    t.end();
  });

void t.test("the next attempt starts after its pause, and once", (t) => {
  const { repeats, clock, told } = setUp();
  repeats.follow("UPSTREAM_RESET", 20, () => told.push("started"));
  t.same(told, ["repeated: UPSTREAM_RESET", "pausing"]);
  clock.advance(19);
  t.equal(told.length, 2);
  clock.advance(1000);
  t.same(told.slice(2), ["started"]);
  t.end();
});

void t.test("without a pause it starts at once", (t) => {
  const { repeats, clock, told } = setUp();
  repeats.follow("shed", 0, () => told.push("started"));
  t.same(told, ["repeated: shed", "started"]);
  t.equal(clock.pending, 0);
  t.end();
});

void t.test("what is called off does not start", (t) => {
  const { repeats, clock, told } = setUp();
  repeats.cancel();
  repeats.follow("UPSTREAM_RESET", 20, () => told.push("started"));
  repeats.cancel();
  t.equal(clock.pending, 0);
  clock.advance(1000);
  t.notOk(told.includes("started"));
  t.end();
});
