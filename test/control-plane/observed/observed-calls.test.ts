/** What the control plane keeps of the calls that sidecars have seen: an hour of them, bounded, each sidecar's own. */
import t from "tap";
import { ObservedCalls } from "../../../src/control-plane/observed/observed-calls.ts";
import { NO_SERVICES } from "../../../src/control-plane/observed/leading-services.ts";
import { shadowStatuses } from "../../../src/control-plane/observed/views.ts";
import type { ObservedCall } from "../../../src/push/messages.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { authorizationPolicy } from "../../support/resources/policy-fixtures.ts";
import { OTHER, PEER } from "../../support/control-plane/registry.ts";

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

void t.test("of two that bear one name, each speaks for itself alone", (t) => {
  const observed = new ObservedCalls(fakeClock());
  const other = { ...OTHER, name: PEER.name, labels: { app: "other" } };
  observed.report(PEER, { calls: [row()], dropped: 0 });
  observed.report(other, { calls: [row({ path: "/other" })], dropped: 0 });
  t.match(observed.at(all), [
    { workload: { labels: PEER.labels }, calls: [{ path: "/" }] },
    { workload: { labels: other.labels }, calls: [{ path: "/other" }] },
  ]);
  t.match(
    observed.at(({ labels }) => labels["app"] === "other"),
    [{ serviceAccount: "other", calls: [{ path: "/other" }] }],
  );
  t.end();
});

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
  const statusOf = shadowStatuses(observed, () => NO_SERVICES);
  t.match(statusOf(authorizationPolicy("shop/p", {})), {
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
  t.strictSame(statusOf(authorizationPolicy("shop/nobody", {})), {
    calls: 0,
    sidecars: 0,
    callers: [],
    more: 0,
  });
  t.end();
});

/** A hundred thousand rows, of sidecars that hold all that they may, and when those are an hour old. */
function full(): {
  readonly clock: ReturnType<typeof fakeClock>;
  readonly observed: ObservedCalls;
} {
  const clock = fakeClock();
  const observed = new ObservedCalls(clock);
  const calls = rows(0, 1024).map((each) => ({
    ...each,
    lastAge: HOUR - 5000,
  }));
  for (let index = 0; index < 98; index += 1)
    observed.report({ ...PEER, name: `w${index}` }, { calls, dropped: 0 });
  return { clock, observed };
}

const rows = (from: number, count: number): ObservedCall[] =>
  Array.from({ length: count }, (_, index) =>
    row({ path: `/${from + index}` }),
  );

void t.test(
  "where all is full, each sidecar may hold its share, and the fullest one makes room",
  (t) => {
    const { observed } = full();
    observed.report(PEER, { calls: rows(0, 1024), dropped: 0 });
    const seen = observed.at(all);
    const held = seen.reduce((sum, { calls }) => sum + calls.length, 0);
    t.equal(held, 100_000);
    const own = seen.find(({ workload }) => workload.name === PEER.name);
    t.equal(own?.calls.length, Math.floor(100_000 / 99));
    t.equal(own?.dropped, 1024 - Math.floor(100_000 / 99));
    t.ok(
      seen.every(({ calls, dropped }) => calls.length + dropped === 1024),
      "each says what found no room",
    );
    t.end();
  },
);

void t.test(
  "a sidecar with nothing to tell takes no share of the room",
  (t) => {
    const { observed } = full();
    const nothing = { calls: [], dropped: 0 };
    for (let index = 0; index < 98; index += 1)
      observed.report({ ...PEER, name: `idle${index}` }, nothing);
    observed.report(PEER, { calls: rows(0, 1024), dropped: 0 });
    const own = observed.at(({ name }) => name === PEER.name);
    t.equal(own[0]?.calls.length, Math.floor(100_000 / 99));
    t.end();
  },
);

void t.test("while it is full, all rows are looked through each 10 s", (t) => {
  const { clock, observed } = full();
  observed.report(PEER, { calls: rows(0, 1024), dropped: 0 });
  const beyond = (from: number): void =>
    observed.report(PEER, { calls: rows(from, 5), dropped: 0 });
  const share = Math.floor(100_000 / 99);
  clock.advance(9999);
  beyond(5000);
  clock.advance(1);
  beyond(6000);
  const own = observed
    .at(all)
    .find(({ workload }) => workload.name === PEER.name);
  t.equal(own?.calls.length, share + 5);
  t.ok(own?.calls.every(({ path }) => !/^\/500\d$/.test(path)));
  t.end();
});

void t.test("what was dropped is known for an hour", (t) => {
  const clock = fakeClock();
  const observed = new ObservedCalls(clock);
  observed.report(PEER, { calls: [], dropped: 4 });
  clock.advance(HOUR - 1);
  t.match(observed.at(all), [{ calls: [], dropped: 4 }]);
  clock.advance(1);
  t.strictSame(observed.at(all), []);
  t.end();
});

const finding = { policy: "shop/p", effect: "refused" };
const MOST = Number.MAX_SAFE_INTEGER;

/** Rows that no sidecar says that means well. */
const UNSOUND: Readonly<Record<string, Partial<ObservedCall>>> = {
  "an effect that there is not": { ...finding, effect: "refuted" },
  "an effect of Object": { ...finding, effect: "constructor" },
  "an effect without a policy": { ...finding, policy: "" },
  "a policy without an effect": { ...finding, effect: "" },
  "an escape in the policy": { ...finding, policy: "shop/p\u001b[2J" },
  "an escape in the effect": { ...finding, effect: "refused\u001b[2J" },
  "an escape in the peer": { peer: "spiffe://a\u001b[2J" },
  "an escape in the address": { address: "\u001b[2J" },
  "a new line in the method": { method: "GET\n" },
  "a DEL in the host": { host: "\u007f" },
  "a C1 escape in the path": { path: "/\u009b2J" },
};

for (const [title, over] of Object.entries(UNSOUND))
  void t.test(`refused: ${title}`, (t) => {
    const observed = new ObservedCalls(fakeClock());
    observed.report(PEER, { calls: [row({ ...over, count: 3 })], dropped: 0 });
    t.match(observed.at(all), [{ calls: [], dropped: 3 }]);
    t.end();
  });

void t.test("ages and counts beyond all bounds are bounded", (t) => {
  const clock = fakeClock();
  const observed = new ObservedCalls(clock);
  const calls = ["/a", "/b"].map((path) =>
    row({ ...finding, path, count: 2 ** 60, firstAge: 2 ** 60 }),
  );
  observed.report(PEER, { calls, dropped: 2 ** 60 });
  observed.report(PEER, { calls: [], dropped: 2 ** 60 });
  const since = new Date(clock.wall() - HOUR).toISOString();
  const status = shadowStatuses(
    observed,
    () => NO_SERVICES,
  )(authorizationPolicy("shop/p", { selector: { matchLabels: PEER.labels } }));
  t.match(status, { since, calls: MOST, callers: [{ calls: MOST }, {}] });
  t.match(observed.at(all), [{ dropped: MOST }]);
  const same = calls.map((each) => ({ ...each, method: "", path: "" }));
  observed.report({ ...PEER, name: "other" }, { calls: same, dropped: 0 });
  observed.report({ ...PEER, name: "third" }, { calls: same, dropped: 0 });
  const { callers } = shadowStatuses(
    observed,
    () => NO_SERVICES,
  )(authorizationPolicy("shop/p", {}));
  t.ok(callers.every(({ calls: count }) => count === MOST));
  t.end();
});

/** Who is heard of "shop/p", by its selector and the workload that speaks. */
for (const [title, peer, selector, sidecars] of [
  ["its own", {}, undefined, 1],
  ["of its selector", {}, PEER.labels, 1],
  ["not of its selector", {}, { app: "other" }, 0],
  ["of another namespace", { namespace: "dev" }, undefined, 0],
] as const)
  void t.test(`a finding of a workload: ${title}`, (t) => {
    const observed = new ObservedCalls(fakeClock());
    observed.report(
      { ...PEER, ...peer },
      { calls: [row(finding)], dropped: 0 },
    );
    const policy = authorizationPolicy(
      "shop/p",
      selector === undefined ? {} : { selector: { matchLabels: selector } },
    );
    t.match(shadowStatuses(observed, () => NO_SERVICES)(policy), {
      sidecars,
      calls: sidecars,
    });
    t.end();
  });
