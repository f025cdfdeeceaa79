import t from "tap";
import type { NotKnown } from "../../../src/agent/interest/lookups.ts";
import {
  GIVEN_BACK_AFTER,
  MeshInterest,
  type Declared,
} from "../../../src/agent/interest/mesh-interest.ts";
import type { Subscriptions } from "../../../src/agent/interest/subscriptions.ts";
import type { ReceivedResources } from "../../../src/agent/staging.ts";
import type {
  Destination,
  SelfDescription,
} from "../../../src/policy/snapshot.ts";
import { keyOf, type Resource } from "../../../src/resources/envelope.ts";
import { MOST_SUBSCRIPTIONS } from "../../../src/push/interest.ts";
import { resourceName } from "../../../src/push/names.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import { service } from "../../support/control-plane/push-control-plane.ts";

const SELF: SelfDescription = {
  name: "web-1",
  namespace: "shop",
  serviceAccount: "web",
  labels: { app: "web" },
  identity: "spiffe://cluster.local/ns/shop/sa/web",
};

const MINUTE = 60_000;

function received(...resources: readonly Resource[]): ReceivedResources {
  return new Map(
    resources.map((resource) => [
      resourceName(keyOf(resource)),
      { version: "1", bytes: 100, resource },
    ]),
  );
}

/** As far as it is looked at. */
function destination(name: string, port = 80): Destination {
  return {
    key: `${name}.shop:${port}`,
    service: { name, namespace: "shop" },
  } as Destination;
}

interface Tried {
  readonly clock: FakeClock;
  readonly interest: MeshInterest;
  readonly sent: Subscriptions[];
  readonly first: readonly string[];
  changes: number;
}

/** With a stream that is open. */
function tried(declared: Partial<Declared> = {}): Tried {
  const clock = fakeClock();
  const sent: Subscriptions[] = [];
  const interest = new MeshInterest({
    clock,
    declared: { services: [], hosts: [], ...declared },
    onChange: () => (result.changes += 1),
  });
  const first = interest.attach((change) => sent.push(change));
  interest.connected();
  const result: Tried = { clock, interest, sent, first, changes: 0 };
  return result;
}

async function turn(): Promise<void> {
  await Promise.resolve();
}

const failed = (outcomes: (string | undefined)[]) => (failure?: NotKnown) =>
  void outcomes.push(failure?.kind);

void t.test(
  "a stream starts with the sidecar itself and what is declared",
  (t) => {
    const { first } = tried({
      services: ["shop/payments"],
      hosts: ["orders.shop"],
    });
    t.same(first, ["self", "Service/shop/payments", "Host//orders.shop"]);
    t.end();
  },
);

void t.test(
  "the first call to a Service is told, and no later one",
  async (t) => {
    const { interest, sent } = tried();
    t.ok(interest.holds(destination("orders")));
    t.ok(interest.holds(destination("orders")));
    t.ok(interest.holds(destination("orders", 81)));
    await turn();
    t.same(sent, [{ subscribe: ["Service/shop/orders"], unsubscribe: [] }]);
    interest.applied(received(service("orders")), new Map(), SELF);
    t.ok(
      interest.holds(destination("orders")),
      "another snapshot, the same use",
    );
    await turn();
    t.equal(sent.length, 1);
  },
);

void t.test("what is declared is told of already", async (t) => {
  const { interest, sent } = tried({ services: ["shop/orders"] });
  t.ok(interest.holds(destination("orders")));
  await turn();
  t.same(sent, []);
});

void t.test(
  "what is asked is subscribed to, and answered by a push",
  async (t) => {
    const { interest, sent } = tried();
    const outcomes: (string | undefined)[] = [];
    const questions = ["Host//orders.shop"];
    interest.look({ service: undefined, questions }, failed(outcomes));
    interest.look({ service: undefined, questions }, failed(outcomes));
    await turn();
    t.same(sent, [{ subscribe: questions, unsubscribe: [] }]);
    t.same(outcomes, []);
    interest.applied(
      received(service("orders")),
      new Map([["Host//orders.shop", { services: ["shop/orders"] }]]),
      SELF,
    );
    t.same(outcomes, [undefined, undefined]);
    t.ok(interest.knows("Host//orders.shop"));
    t.notOk(interest.knows("Host//stock.shop"));
  },
);

void t.test(
  "a Service that selects this workload is whole once it is asked for",
  async (t) => {
    const { interest, sent } = tried();
    const resources = received(service("web"), service("orders"));
    interest.applied(resources, new Map(), SELF);
    t.ok(interest.holds(destination("orders")));
    t.notOk(interest.holds(destination("web")), "it has one instance: this");
    await turn();
    t.same(sent.splice(0), [
      { subscribe: ["Service/shop/orders"], unsubscribe: [] },
    ]);
    const outcomes: (string | undefined)[] = [];
    interest.look(
      { service: "shop/web", questions: ["Host//web.shop"] },
      failed(outcomes),
    );
    await turn();
    t.same(sent.splice(0), [
      { subscribe: ["Host//web.shop"], unsubscribe: [] },
    ]);
    t.same(outcomes, []);
    interest.applied(
      resources,
      new Map([["Host//web.shop", { services: ["shop/web"] }]]),
      SELF,
    );
    t.same(outcomes, [undefined]);
    t.ok(interest.holds(destination("web")));
    await turn();
    t.same(sent, [{ subscribe: ["Service/shop/web"], unsubscribe: [] }]);
  },
);

void t.test("whoever serves by other labels has other own Services", (t) => {
  const { interest } = tried();
  const resources = received(service("web"));
  interest.applied(resources, new Map(), SELF);
  t.notOk(interest.holds(destination("web")));
  interest.applied(resources, new Map(), { ...SELF, labels: { app: "x" } });
  t.ok(interest.holds(destination("web")));
  t.end();
});

void t.test("what was not called for an hour is given back", async (t) => {
  const { clock, interest, sent } = tried({ services: ["shop/payments"] });
  const forgotten: unknown[] = [];
  interest.onForget((each) => forgotten.push(each));
  interest.holds(destination("orders"));
  interest.holds(destination("stock"));
  interest.look({ service: undefined, questions: ["Host//none"] }, () => null);
  interest.applied(
    received(),
    new Map([["Host//none", { services: [] }]]),
    SELF,
  );
  await turn();
  sent.splice(0);
  for (let minute = 1; minute < GIVEN_BACK_AFTER; minute += 1) {
    clock.advance(MINUTE);
    t.ok(interest.holds(destination("stock")));
  }
  await turn();
  t.same(sent, []);
  clock.advance(MINUTE);
  await turn();
  t.same(sent, [
    { subscribe: [], unsubscribe: ["Service/shop/orders", "Host//none"] },
  ]);
  t.same(forgotten, [{ services: ["shop/orders"], questions: ["Host//none"] }]);
  t.notOk(interest.knows("Host//none"));
  t.ok(interest.holds(destination("orders")));
  await turn();
  t.same(
    sent.slice(1),
    [{ subscribe: ["Service/shop/orders"], unsubscribe: [] }],
    "and told again when it is called again",
  );
});

void t.test(
  "an open exchange is use, and so is what others tell",
  async (t) => {
    const { clock, interest, sent } = tried();
    for (const name of ["orders", "stock", "cards"])
      interest.holds(destination(name));
    await turn();
    sent.splice(0);
    const stop = interest.watchExchanges(() => [
      "shop/orders",
      "shop/unheard-of",
    ]);
    for (let minute = 0; minute <= GIVEN_BACK_AFTER; minute += 1) {
      interest.mark({ services: ["shop/stock"], questions: [] });
      clock.advance(MINUTE);
    }
    await turn();
    t.same(sent.splice(0), [
      { subscribe: [], unsubscribe: ["Service/shop/cards"] },
    ]);
    stop();
    clock.advance(GIVEN_BACK_AFTER * MINUTE);
    await turn();
    t.same(
      sent.flatMap(({ unsubscribe }) => unsubscribe),
      ["Service/shop/orders", "Service/shop/stock"],
    );
  },
);

void t.test("without a control plane nobody waits", (t) => {
  const { interest } = tried();
  const outcomes: (string | undefined)[] = [];
  const look = (...questions: string[]): void =>
    interest.look({ service: undefined, questions }, failed(outcomes));
  look("Host//a");
  interest.applied(received(), new Map([["Host//a", { services: [] }]]), SELF);
  look("Host//b");
  interest.detach(false);
  t.same(outcomes, [undefined, "gone"], "whoever waits is told");
  look("Host//b");
  t.same(outcomes.splice(0), [undefined, "gone", "gone"]);
  look("Host//a");
  t.same(outcomes.splice(0), [undefined], "what is known is known");
  t.same(
    interest.attach(() => null),
    ["self", "Host//a"],
    "what nobody waits for is not asked",
  );
  look("Host//b");
  t.same(outcomes.splice(0), ["gone"], "until the control plane answers");
  interest.connected();
  look("Host//b");
  t.same(outcomes, []);
  t.end();
});

void t.test("a stream that follows at once asks on", (t) => {
  const { interest } = tried();
  const outcomes: (string | undefined)[] = [];
  interest.holds(destination("orders"));
  interest.look(
    { service: undefined, questions: ["Host//b"] },
    failed(outcomes),
  );
  interest.detach(true);
  t.same(outcomes, []);
  t.same(
    interest.attach(() => null),
    ["self", "Service/shop/orders", "Host//b"],
  );
  interest.applied(received(), new Map([["Host//b", { services: [] }]]), SELF);
  t.same(outcomes, [undefined]);
  t.end();
});

void t.test(
  "a push that is refused ends the wait for what it had",
  async (t) => {
    const { interest, sent } = tried();
    const outcomes: string[] = [];
    interest.look({ service: undefined, questions: ["Host//b"] }, (failure) =>
      outcomes.push(failure?.detail ?? ""),
    );
    await turn();
    interest.refused("the digest does not fit");
    await turn();
    t.match(outcomes, [/refused: the digest does not fit/]);
    t.same(sent.slice(1), [{ subscribe: [], unsubscribe: ["Host//b"] }]);
  },
);

void t.test("what is kept comes back", (t) => {
  const { interest } = tried();
  interest.holds(destination("orders"));
  interest.look({ service: undefined, questions: ["Host//none"] }, () => null);
  const lookups = new Map([["Host//none", { services: [] }]]);
  interest.applied(received(), lookups, SELF);
  t.same(interest.kept, { services: ["shop/orders"], lookups });
  const next = tried();
  next.interest.restore(interest.kept);
  t.ok(next.interest.knows("Host//none"));
  t.same(next.interest.lookups, lookups);
  t.same(
    next.interest.attach(() => null),
    ["self", "Service/shop/orders", "Host//none"],
  );
  next.interest.applied(received(service("web")), lookups, SELF);
  t.notOk(next.interest.holds(destination("web")));
  t.end();
});

void t.test("what changes is to be kept", (t) => {
  const state = tried();
  const { interest } = state;
  const changed = (): boolean => {
    const { changes } = state;
    state.changes = 0;
    return changes > 0;
  };
  interest.holds(destination("orders"));
  t.ok(changed());
  interest.holds(destination("orders"));
  t.notOk(changed());
  const lookups = new Map();
  interest.applied(received(), lookups, SELF);
  t.ok(changed());
  interest.applied(received(), lookups, SELF);
  t.notOk(changed());
  t.end();
});

void t.test(
  "who needs more than may be asked for asks for everything",
  async (t) => {
    const { interest, sent } = tried();
    const use = (from: number, count: number): void => {
      for (let number = from; number < from + count; number += 1)
        interest.use(`shop/s${number}`);
    };
    use(0, MOST_SUBSCRIPTIONS - 1);
    const again = (): readonly string[] =>
      interest.attach((change) => sent.push(change));
    t.equal(again().length, MOST_SUBSCRIPTIONS);
    use(MOST_SUBSCRIPTIONS, 1);
    t.same(again(), ["*"]);
    interest.everything = true;
    interest.applied(received(service("web")), new Map(), SELF);
    sent.length = 0;
    use(MOST_SUBSCRIPTIONS + 1, 1);
    t.ok(interest.holds(destination("web")), "its own Service is held whole");
    t.ok(interest.knows("Host//nowhere"));
    const outcomes: (string | undefined)[] = [];
    interest.look(
      { service: undefined, questions: ["Host//other"] },
      failed(outcomes),
    );
    await turn();
    t.same(outcomes, [undefined]);
    t.same(sent, [], "nothing is asked for besides");
  },
);
