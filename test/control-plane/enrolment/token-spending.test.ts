/** How the uses of a token are kept and taken where many ask at once. */
import t from "tap";
import { enrolmentTokenKey } from "../../../src/control-plane/enrolment/enrolment-token.ts";
import {
  MOST_GIVEN,
  TokenSpending,
} from "../../../src/control-plane/enrolment/token-spending.ts";
import {
  csr,
  REMOTE,
  startEnrolment,
} from "../../support/control-plane/enrolment.ts";

const BEING_TAKEN = {
  kind: "failed",
  message: /no uses left but those that are being taken/,
};

void t.test(
  "a use that was taken is not kept as well: the others are there for others",
  async (t) => {
    const { enrolment, token, store } = await startEnrolment(t);
    const { text } = await token({ uses: 2 });
    const record = store.record.bind(store);
    const spent = Promise.withResolvers<undefined>();
    const recorded = Promise.withResolvers<undefined>();
    store.record = async (acts) => {
      spent.resolve(undefined);
      await recorded.promise;
      await record(acts);
    };
    const first = enrolment.enrol(
      { token: text, csr: csr(), name: "web-1" },
      REMOTE,
    );
    await spent.promise;
    store.record = record;
    await enrolment.enrol({ token: text, csr: csr(), name: "web-2" }, REMOTE);
    recorded.resolve(undefined);
    await first;
  },
);

void t.test(
  "an instance that asks again while it waits takes one use, and the others are kept",
  async (t) => {
    const { token, store, clock } = await startEnrolment(t);
    const spending = new TokenSpending(store, clock);
    const { id, text } = await token({ uses: 3 });
    const left = async (): Promise<unknown> =>
      (await store.get(enrolmentTokenKey(id)))?.spec;
    const releases = ["web-1", "web-1", "web-0", "web-2"].map((key) =>
      spending.hold(text, key, 3),
    );
    t.throws(() => spending.hold(text, "web-3", 3), BEING_TAKEN);
    // The others wait for the first, and are then served together.
    await Promise.all(
      ["web-0", "web-1", "web-1"].map((key) => spending.spend(text, key)),
    );
    t.match(await left(), { usesLeft: 1 });
    releases[0]?.();
    t.throws(
      () => spending.hold(text, "web-3", 1),
      BEING_TAKEN,
      "one is kept for web-2",
    );
    for (const release of releases) release();
    await spending.spend(text, "web-1");
    t.match(await left(), { usesLeft: 1 }, "it has its use");
    spending.hold(text, "web-3", 1)();
    spending.hold(text, "web-4", 1)();
  },
);

void t.test("a use is kept for so many requests, and no more", async (t) => {
  const { token, store, clock } = await startEnrolment(t);
  const spending = new TokenSpending(store, clock);
  const { text } = await token({ uses: 2 });
  for (let count = 0; count < MOST_GIVEN; count += 1)
    spending.hold(text, "web-1", 2);
  t.throws(() => spending.hold(text, "web-1", 2), BEING_TAKEN);
});
