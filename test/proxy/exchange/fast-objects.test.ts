/** What each request looks at is found without a search: V8 keeps none of it as a dictionary (decision 097). */
import { setFlagsFromString } from "node:v8";
import t from "tap";
import { watchSource } from "../../../src/core/watch.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import { watchIdle } from "../../../src/proxy/exchange/time/idle.ts";
import { makeEjectionHistory } from "../../../src/proxy/upstream/cluster/ejection-history.ts";
import { Exclusion } from "../../../src/proxy/upstream/cluster/exclusion.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { watchBench } from "../../support/clocks/watch-bench.ts";
import {
  self,
  service,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

/** V8's own word for it, which is in no other language's syntax; the flag is the process's. */
function asker(): (object: object) => boolean {
  setFlagsFromString("--allow-natives-syntax");
  try {
    // oxlint-disable-next-line typescript/no-implied-eval -- it is no syntax of TypeScript's
    const ask = new Function("o", "return %HasFastProperties(o)") as (
      object: object,
    ) => boolean;
    // V8 reads the body at the first call.
    ask({});
    return ask;
  } finally {
    setFlagsFromString("--no-allow-natives-syntax");
  }
}

const isFast = asker();

const ORDERS = [service("shop/orders"), workload("shop/orders-1", "orders")];

/** Two of each, since V8 may keep the second in another way than the first. */
const MADE: readonly (readonly [string, () => object])[] = [
  ["a watch", () => watchSource(1)],
  ["a snapshot", () => compileSnapshot(ORDERS, self({}), VERSION, {})],
  ["the watcher of exchanges", () => watchIdle(fakeClock())],
  ["the history of ejections", () => makeEjectionHistory()],
  [
    "what keeps endpoints out of balancing",
    () => {
      const { detector, watch } = watchBench();
      const healthy = { version: 0, isHealthy: () => true };
      return new Exclusion(detector, healthy, () => watch);
    },
  ],
];

void t.test("what each request looks at is no dictionary", (t) => {
  for (const [name, make] of MADE) {
    t.equal(isFast(make()), true, name);
    t.equal(isFast(make()), true, `${name}, the second`);
  }
  t.end();
});

void t.test("an object literal with a getter is one", (t) => {
  let value = 0;
  const made = {
    get next() {
      return (value += 1);
    },
  };
  t.equal(made.next, 1);
  t.equal(isFast(made), false);
  t.end();
});
