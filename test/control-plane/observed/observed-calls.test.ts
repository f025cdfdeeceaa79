/** What the control plane keeps of the calls that sidecars have seen: an hour of them, bounded, each sidecar's own. */
import t from "tap";
import { ObservedCalls } from "../../../src/control-plane/observed/observed-calls.ts";
import { shadowStatuses } from "../../../src/control-plane/observed/views.ts";
import type { ObservedCall } from "../../../src/push/messages.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { PEER } from "../../support/control-plane/registry.ts";

const HOUR = 3_600_000;

const row = (over: Partial<ObservedCall> = {}): ObservedCall => ({
  ...{ policy: "", effect: "", peer: "", address: "10.0.0.2", port: 80 },
  ...{ method: "GET", host: "orders", path: "/", count: 1 },
  ...{ firstAge: 1000, lastAge: 0 },
  ...over,
});

const all = (): true => true;

void t.test(
  "a report replaces what is known of the same call, and an hour forgets it",
  (t) => {
    const clock = fakeClock();
    const observed = new ObservedCalls(clock);
    observed.report(PEER, {
      calls: [row({ count: 3 }), row({ path: "/a" })],
      dropped: 2,
    });
    observed.report(PEER, { calls: [row({ count: 5 })], dropped: 1 });
    observed.report({ ...PEER, name: "other" }, { calls: [row()], dropped: 0 });
    const [own, other] = observed.at(all);
    t.match(own, {
      workload: { namespace: PEER.namespace, name: PEER.name },
      calls: [{ count: 5 }, { path: "/a" }],
      dropped: 3,
    });
    t.equal(own?.calls[0]?.first, clock.wall() - 1000);
    t.equal(other?.calls.length, 1);
    t.strictSame(
      observed.at(({ name }) => name === "nobody"),
      [],
    );
    clock.advance(HOUR - 1);
    observed.report(PEER, { calls: [row({ path: "/a" })], dropped: 0 });
    clock.advance(1);
    t.match(observed.at(all), [{ calls: [{ path: "/a" }] }]);
    clock.advance(HOUR);
    t.strictSame(observed.at(all), []);
    t.end();
  },
);

void t.test("a sidecar that says too much fills its own rows alone", (t) => {
  const observed = new ObservedCalls(fakeClock());
  const many = (from: number): ObservedCall[] =>
    Array.from({ length: 1000 }, (_, index) =>
      row({ path: `/${from + index}` }),
    );
  observed.report(PEER, { calls: many(0), dropped: 0 });
  observed.report(PEER, { calls: many(1000), dropped: 0 });
  observed.report(PEER, {
    calls: [row({ path: "x".repeat(9000) }), row({ lastAge: HOUR })],
    dropped: 0,
  });
  const [own] = observed.at(all);
  t.equal(own?.calls.length, 1024);
  t.equal(own?.dropped, 976 + 2);
  t.end();
});

void t.test("what a policy would have done, over all sidecars", (t) => {
  const clock = fakeClock();
  const observed = new ObservedCalls(clock);
  const refused = { policy: "shop/p", effect: "refused" };
  const web = { peer: "spiffe://cluster.local/ns/shop/sa/web", address: "" };
  observed.report(PEER, {
    calls: [
      row(),
      row({ ...refused, count: 2, firstAge: 9000 }),
      row({ ...refused, ...web, count: 4 }),
      row({ ...refused, policy: "shop/other" }),
    ],
    dropped: 0,
  });
  observed.report(
    { ...PEER, name: "other" },
    {
      calls: [
        row({ ...refused, ...web, count: 3, method: "", path: "" }),
        row({ ...refused, ...web, count: 1 }),
      ],
      dropped: 0,
    },
  );
  const statusOf = shadowStatuses(observed);
  t.match(statusOf("shop/p"), {
    ...{ calls: 10, sidecars: 2, more: 0 },
    since: new Date(clock.wall() - 9000).toISOString(),
    callers: [
      {
        caller: "cluster.local/ns/shop/sa/web",
        method: "GET",
        path: "/",
        calls: 5,
      },
      { caller: "cluster.local/ns/shop/sa/web", calls: 3, method: undefined },
      { caller: "plaintext 10.0.0.2", calls: 2 },
    ],
  });
  t.strictSame(statusOf("shop/nobody"), {
    calls: 0,
    sidecars: 0,
    callers: [],
    more: 0,
  });
  t.end();
});
