/** How a caller holds back: by the word of endpoints, for a second, and by the share that is refused. */
import t from "tap";
import { MeshError } from "../../../../src/mesh/errors.ts";
import type { Code } from "../../../../src/mesh/reasons.ts";
import { newLoad } from "../../../../src/policy/balance/algorithm.ts";
import type { Balancer } from "../../../../src/policy/balance/picker.ts";
import { outcomeOfAnswer } from "../../../../src/policy/outcome.ts";
import type { Endpoint } from "../../../../src/policy/snapshot.ts";
import {
  clientThrottleOf,
  WORD,
  type ClientThrottle,
} from "../../../../src/proxy/upstream/cluster/client-throttle.ts";
import { makeField, type Fields } from "../../../../src/wire/fields.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";

/** Gives the endpoints that were not tried in their order, the first where all were, and counts who was given back. */
function balancerOf(
  ...keys: readonly string[]
): Pick<Balancer<Endpoint>, "pick"> & { given: string[]; back: string[] } {
  const given: string[] = [];
  const back: string[] = [];
  return {
    given,
    back,
    pick(_now, tried) {
      const key = keys.find((each) => tried?.has(each) !== true) ?? keys[0];
      if (key === undefined) return { kind: "none", reason: "no endpoint" };
      given.push(key);
      return {
        kind: "endpoint",
        endpoint: { key } as Endpoint,
        load: newLoad(1, 0, 0),
        probing: false,
        done: () => back.push(key),
      };
    },
  };
}

const told = (threshold: string): Fields => [
  makeField("x-wherry-admission", threshold),
];

function picked(
  restraint: ClientThrottle,
  balancer: ReturnType<typeof balancerOf>,
  clock = fakeClock(),
  priority?: number,
): string {
  const pick = restraint.pick(
    balancer as unknown as Balancer<Endpoint>,
    new Set(),
    clock.now(),
    { clock, priority },
  );
  if (pick instanceof MeshError) return pick.code;
  return pick.kind === "endpoint" ? pick.endpoint.key : pick.kind;
}

void t.test("without a policy there is none", (t) => {
  t.equal(clientThrottleOf("orders.shop:80", {}), undefined);
  t.end();
});

void t.test(
  "an endpoint that has said that it lets in less is passed over, for a second",
  (t) => {
    const clock = fakeClock();
    const restraint = clientThrottleOf("k", { priority: {} }) as ClientThrottle;
    const balancer = balancerOf("a", "b");
    restraint.heard("a", told("300"), clock);
    t.equal(picked(restraint, balancer, clock, 300), "a", "300 is let in");
    t.equal(picked(restraint, balancer, clock, 301), "b");
    t.strictSame(balancer.back, ["a"], "given back at once");
    restraint.heard("b", told("200"), clock);
    t.equal(
      picked(restraint, balancer, clock, 301),
      "SHED",
      "both would refuse",
    );
    t.strictSame(balancer.back, ["a", "a", "b"]);
    clock.advance(WORD);
    t.equal(picked(restraint, balancer, clock, 301), "a", "to ask again");
    restraint.heard("a", told("300"), clock);
    restraint.heard("a", [], clock);
    t.equal(
      picked(restraint, balancer, clock, 767),
      "a",
      "it lets in all again",
    );
    t.end();
  },
);

void t.test(
  "what is no number, or of endpoints that are gone, counts for nothing",
  (t) => {
    const clock = fakeClock();
    const restraint = clientThrottleOf("k", { priority: {} }) as ClientThrottle;
    for (const text of ["", "-1", "1e2", "99999999", "x"]) {
      restraint.heard("a", told(text), clock);
      t.equal(picked(restraint, balancerOf("a"), clock, 700), "a", text);
    }
    restraint.heard("a", told("0"), clock);
    t.equal(picked(restraint, balancerOf("a"), clock, 700), "SHED");
    restraint.retain(new Set(["b"]));
    t.equal(picked(restraint, balancerOf("a"), clock, 700), "a");
    t.equal(picked(restraint, balancerOf(), clock, 700), "none");
    t.end();
  },
);

void t.test("which outcomes say that the service had no room", (t) => {
  for (const [answer, refusal] of [
    [{ status: 200 }, false],
    [{ status: 404 }, false],
    [{ status: 500 }, false],
    [{ status: 429 }, true],
    [{ status: 503, retryAfter: 1000 }, true],
    [{ status: 503, reason: "SHED" }, true],
    [{ status: 503, reason: "OVERLOADED" }, true],
    [{ status: 429, reason: "RATE_LIMITED" }, true],
    [{ status: 403, reason: "DENIED" }, false],
    [{ status: 503, reason: "APPLICATION_UNREACHABLE" }, false],
  ] as readonly (readonly [
    { status: number; retryAfter?: number; reason?: Code },
    boolean,
  ])[]) {
    const clock = fakeClock({ random: () => 0 });
    const restraint = clientThrottleOf("k", {
      clientThrottling: { multiplier: 2, window: 10_000 },
    }) as ClientThrottle;
    for (let index = 0; index < 10; index += 1) {
      picked(restraint, balancerOf("a"), clock);
      restraint.ended(outcomeOfAnswer(answer), clock.now());
    }
    t.equal(
      picked(restraint, balancerOf("a"), clock),
      refusal ? "THROTTLED" : "a",
      JSON.stringify(answer),
    );
  }
  t.end();
});
