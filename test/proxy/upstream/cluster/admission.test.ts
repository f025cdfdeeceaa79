/** What a caller does not send: by the word of its endpoints, for a second. */
import t from "tap";
import { MeshError } from "../../../../src/mesh/errors.ts";
import { newLoad } from "../../../../src/policy/balance/algorithm.ts";
import type { Balancer } from "../../../../src/policy/balance/picker.ts";
import type { Endpoint } from "../../../../src/policy/snapshot.ts";
import {
  Admission,
  WORD,
} from "../../../../src/proxy/upstream/cluster/admission.ts";
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
  admission: Admission,
  balancer: ReturnType<typeof balancerOf>,
  clock = fakeClock(),
  priority?: number,
): string {
  const pick = admission.pick(
    balancer as unknown as Balancer<Endpoint>,
    new Set(),
    clock.now(),
    { priority },
  );
  if (pick instanceof MeshError) return pick.code;
  return pick.kind === "endpoint" ? pick.endpoint.key : pick.kind;
}

void t.test(
  "an endpoint that has said that it lets in less is passed over, for a second",
  (t) => {
    const clock = fakeClock();
    const admission = new Admission("k", {});
    const balancer = balancerOf("a", "b");
    admission.heard("a", told("300"), clock);
    t.equal(picked(admission, balancer, clock, 300), "a", "300 is let in");
    t.equal(picked(admission, balancer, clock, 301), "b");
    t.strictSame(balancer.back, ["a"], "given back at once");
    admission.heard("b", told("200"), clock);
    t.equal(
      picked(admission, balancer, clock, 301),
      "SHED",
      "both would refuse",
    );
    t.strictSame(balancer.back, ["a", "a", "b"]);
    clock.advance(WORD);
    t.equal(picked(admission, balancer, clock, 301), "a", "to ask again");
    admission.heard("a", told("300"), clock);
    admission.heard("a", [], clock);
    t.equal(
      picked(admission, balancer, clock, 767),
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
    const admission = new Admission("k", {});
    for (const text of ["", "-1", "1e2", "99999999", "x"]) {
      admission.heard("a", told(text), clock);
      t.equal(picked(admission, balancerOf("a"), clock, 700), "a", text);
    }
    admission.heard("a", told("0"), clock);
    t.equal(picked(admission, balancerOf("a"), clock, 700), "SHED");
    admission.retain(new Set(["b"]));
    t.equal(picked(admission, balancerOf("a"), clock, 700), "a");
    t.equal(picked(admission, balancerOf(), clock, 700), "none");
    t.end();
  },
);
