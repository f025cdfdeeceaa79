/** What the control plane keeps and shows of calls that leave the mesh: sound rows alone, by workload, for those that may read there. */
import t from "tap";
import { egressText } from "../../../src/cli/observed/egress-text.ts";
import { painter } from "../../../src/cli/table.ts";
import {
  OutsideCalls,
  outsideCallers,
} from "../../../src/control-plane/observed/outside-calls.ts";
import { outside as codec } from "../../../src/push/codec.ts";
import type { OutsideCall } from "../../../src/push/messages.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { rig } from "../../support/control-plane/api.ts";
import { PEER } from "../../support/control-plane/registry.ts";

const row = (over: Partial<OutsideCall> = {}): OutsideCall => ({
  ...{ verdict: "passed", service: "", host: "a.example", port: 443, name: "" },
  ...{ count: 1, firstAge: 60_000, lastAge: 0 },
  ...over,
});
const SERVICE = { verdict: "external", service: "shop/api" };
const all = (): true => true;

void t.test("sidecars are heard about themselves alone, in sound rows", (t) => {
  const outside = new OutsideCalls(fakeClock());
  const bad = [
    { verdict: "" },
    { verdict: "toString" },
    { verdict: "external" },
    { service: "shop/api" },
    { host: "a\u001b[2J" },
    { name: "a\u0000" },
  ];
  const calls = [
    row(),
    row({ ...SERVICE, count: 3 }),
    row({ verdict: "refused", name: "b.example" }),
    ...bad.map((each) => row({ ...each, count: 10 })),
  ];
  // As it comes over the wire.
  const report = codec.decode(codec.encode({ calls, dropped: 2 }));
  outside.report({ ...PEER, name: "web-2" }, report);
  outside.report(PEER, { calls: [row({ count: 5 })], dropped: 0 });
  outside.report(PEER, { calls: [row({ count: 7 })], dropped: 0 });
  const { callers, dropped } = outsideCallers(outside, all);
  t.equal(dropped, 2 + bad.length * 10);
  t.strictSame(
    callers.map(({ workload, serviceAccount, verdict, calls }) => [
      ...[workload, serviceAccount, verdict, calls],
    ]),
    [
      ["web-1", "web", "passed", 7],
      ["web-2", "web", "external", 3],
      ["web-2", "web", "passed", 1],
      ["web-2", "web", "refused", 1],
    ],
  );
  t.strictSame(
    outsideCallers(outside, ({ name }) => name === "web-3"),
    { callers: [], dropped: 0 },
  );
  t.end();
});

void t.test("people read where calls went, and what became of them", (t) => {
  const clock = fakeClock();
  const outside = new OutsideCalls(clock);
  const paint = painter(false);
  const text = (): string =>
    egressText({ now: clock.wall(), ...outsideCallers(outside, all) }, paint);
  t.equal(
    text(),
    "no call to a place outside the mesh is remembered of the last hour\n",
  );
  outside.report(PEER, {
    calls: [
      row({ ...SERVICE, count: 4 }),
      row({ host: "2001:db8::1", name: "b.example", count: 3 }),
      row({ verdict: "refused", count: 2 }),
      row({ host: "", port: 0 }),
    ],
    dropped: 9,
  });
  t.strictSame(
    text()
      .trim()
      .split("\n")
      .map((line) => line.split(/ {2,}/)),
    [
      [
        ...["WORKLOAD", "ACCOUNT", "CALLS TO", "VERDICT"],
        ...["IN THE LAST HOUR", "FIRST", "LAST"],
      ],
      ["shop/web-1", "web", "a.example:443", "Service shop/api", "4"],
      [
        ...["shop/web-1", "web", "[2001:db8::1]:443 (as b.example)"],
        ...["passed through", "3"],
      ],
      ["shop/web-1", "web", "a.example:443", "refused", "2"],
      ["shop/web-1", "web", "other places", "passed through", "1"],
    ]
      .map((line, index) =>
        index === 0 ? line : [...line, "1m ago", "0s ago"],
      )
      .concat([["up to 9 calls found no room"]]),
  );
  t.end();
});

void t.test("each token sees the namespaces that it may read", async (t) => {
  const { call, as, options } = await rig(t);
  for (const namespace of ["shop", "far"])
    options.outside.report(
      { ...PEER, namespace },
      { calls: [row({ firstAge: 0 })], dropped: 0 },
    );
  const namespaces = async (
    headers?: Record<string, string>,
  ): Promise<string[]> => {
    const { body } = await call("GET", "/status/egress", undefined, headers);
    return (body["callers"] as { readonly namespace: string }[]).map(
      ({ namespace }) => namespace,
    );
  };
  t.strictSame(await namespaces(), ["far", "shop"]);
  t.strictSame(await namespaces(await as("viewer", ["shop"])), ["shop"]);
  const { body } = await call("GET", "/status/egress");
  t.match(body, {
    now: options.clock.wall(),
    dropped: 0,
    callers: [{ serviceAccount: "web", host: "a.example", calls: 1 }, {}],
  });
});
