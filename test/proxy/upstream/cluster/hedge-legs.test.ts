/** What the endpoint of one leg of a hedged request is told, where its response is not the one that is taken. */
import t from "tap";
import { HedgeDelay } from "../../../../src/policy/hedge.ts";
import type { Outcome } from "../../../../src/policy/outcome.ts";
import { retryBudget } from "../../../../src/policy/retry.ts";
import type { Target } from "../../../../src/proxy/exchange/route-plan.ts";
import { HedgedTarget } from "../../../../src/proxy/upstream/cluster/hedge.ts";
import { TRAFFIC_DEFAULTS } from "../../../../src/resources/traffic-policy/settings.ts";
import type {
  ClientStream,
  ResponseReceiver,
} from "../../../../src/wire/exchange.ts";
import { makeField } from "../../../../src/wire/fields.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import { Recorder, requestHead } from "../../../support/http2/ends.ts";

const NOWHERE: ClientStream = {
  write: () => true,
  end: () => undefined,
  abort: () => undefined,
  pause: () => undefined,
  resume: () => undefined,
};

/** What the endpoint of the first of two legs hears of a head that is not passed on, since the other may have a better one. */
function heardOf(
  status: number,
  fields: Readonly<Record<string, string>>,
): Outcome | undefined {
  const receivers: ResponseReceiver[] = [];
  let heard: Outcome | undefined;
  const target = (key: string): Target => ({
    ...{ key, address: key, trusted: true, probing: false },
    connect(_need, waiter) {
      waiter.connected(
        {
          request(_head, _ended, receiver) {
            receivers.push(receiver);
            return NOWHERE;
          },
        },
        true,
      );
      return undefined;
    },
    answered: () => undefined,
    done(outcome) {
      if (key === "first") heard = outcome;
      return undefined;
    },
  });
  const hedged = new HedgedTarget(
    {
      clock: fakeClock({ wall: Date.now() }),
      state: {
        delay: new HedgeDelay({ percentile: 95, minimumDelay: 5 }),
        matches: undefined,
        made: { add: () => undefined, value: 0 },
        won: { add: () => undefined, value: 0 },
      },
      budget: retryBudget(TRAFFIC_DEFAULTS.retryConstraint),
      choose: () => target("second"),
    },
    target("first"),
  );
  hedged.connect(
    { mayRepeat: true },
    {
      connected: (connection) =>
        void connection.request(requestHead(), true, new Recorder()),
      failed: () => undefined,
    },
  );
  hedged.stalled();
  receivers[0]?.head(
    {
      status,
      fields: Object.entries(fields).map(([name, value]) =>
        makeField(name, value),
      ),
      contentLength: 0,
    },
    true,
  );
  return heard;
}

void t.test("a leg that is given up counts as what its response says", (t) => {
  for (const [status, fields, kind, retryAfter] of [
    [500, {}, "server-error", undefined],
    [503, {}, "server-error", undefined],
    [500, { "retry-after": "20" }, "server-error", undefined],
    [503, { "retry-after": "20" }, "throttled", 20_000],
    [429, {}, "throttled", undefined],
    [429, { "retry-after": "20" }, "throttled", 20_000],
    [503, { "x-wherry-reason": "SHED" }, "shed", undefined],
    [
      503,
      { "x-wherry-reason": "CONNECT_FAILED" },
      "application-unreachable",
      undefined,
    ],
  ] as const)
    t.match(
      heardOf(status, fields),
      { kind, retryAfter },
      `${status} ${JSON.stringify(fields)}`,
    );
  t.end();
});
