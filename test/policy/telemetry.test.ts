/** Telemetry by scopes: the narrowest that says a value decides it, the oldest of a scope counts, and each direction has its own (trap 13). */
import t from "tap";
import { atOnce } from "../../src/core/slices.ts";
import {
  compileTelemetry,
  type CallTelemetry,
  type Telemetry,
} from "../../src/policy/telemetry/telemetry.ts";
import type {
  TelemetryResource,
  TelemetrySpec,
} from "../../src/resources/telemetry/spec.ts";
import { born, telemetry } from "../support/resources/policy-fixtures.ts";

const WEB = { namespace: "shop", labels: { app: "web" } };
const OF_WEB = { selector: { matchLabels: { app: "web" } } };
const OF_OTHER = { selector: { matchLabels: { app: "other" } } };

function compiled(
  policies: readonly TelemetryResource[],
  tokenHeaders: readonly string[] = [],
): Telemetry {
  const context = {
    samplingPercentage: 1,
    tokenHeaders: new Set(tokenHeaders),
  };
  return atOnce(compileTelemetry(policies, WEB, context));
}

const sampled = (percentage: number, more: object = {}): TelemetrySpec => ({
  ...more,
  tracing: [{ randomSamplingPercentage: percentage }],
});

for (const [title, policies, percentage, acting] of [
  ["the Mesh's", [], 1, []],
  ["the namespace's", [telemetry("shop/a", sampled(10))], 10, ["shop/a"]],
  [
    "the mesh's",
    [telemetry("wherry-system/a", sampled(20))],
    20,
    ["wherry-system/a"],
  ],
  ["another namespace's", [telemetry("far/a", sampled(30))], 1, []],
  ["another workload's", [telemetry("shop/a", sampled(30, OF_OTHER))], 1, []],
  [
    "the workload's before its namespace's before the mesh's",
    [
      telemetry("wherry-system/m", sampled(20)),
      telemetry("shop/n", sampled(10)),
      telemetry("shop/w", sampled(5, OF_WEB)),
    ],
    5,
    ["shop/w", "shop/n", "wherry-system/m"],
  ],
  [
    "the wider one's where the narrower says nothing of it",
    [
      telemetry("shop/n", { tracing: [{ disableSpanReporting: false }] }),
      telemetry("wherry-system/m", sampled(20)),
    ],
    20,
    ["shop/n", "wherry-system/m"],
  ],
  [
    "the oldest of a scope, as a whole",
    [
      telemetry("shop/b", sampled(7), born(2)),
      telemetry("shop/a", { accessLogging: [{ disabled: true }] }, born(1)),
    ],
    1,
    ["shop/a"],
  ],
  ["0 is a value", [telemetry("shop/a", sampled(0))], 0, ["shop/a"]],
] as const)
  void t.test(`sampling: ${title}`, (t) => {
    const { outbound, inbound } = compiled(policies);
    t.match(outbound, { samplingPercentage: percentage, policies: acting });
    t.strictSame(inbound, outbound);
    t.end();
  });

void t.test("the younger of a scope is named", (t) => {
  t.strictSame(
    compiled([
      telemetry("shop/b", sampled(7), born(2)),
      telemetry("shop/a", sampled(8), born(1)),
    ]).overruled,
    [{ loser: "shop/b", winner: "shop/a" }],
  );
  t.end();
});

void t.test("each direction has its own", (t) => {
  const { outbound, inbound } = compiled([
    telemetry("shop/a", {
      tracing: [
        { match: { mode: "CLIENT" }, randomSamplingPercentage: 2 },
        { match: { mode: "SERVER" }, randomSamplingPercentage: 3 },
      ],
      accessLogging: [{ match: { mode: "SERVER" }, disabled: true }],
    }),
    telemetry("wherry-system/m", {
      accessLogging: [{ match: {}, disabled: false }],
    }),
  ]);
  t.match(outbound, { samplingPercentage: 2, logs: true });
  t.match(inbound, { samplingPercentage: 3, logs: false });
  t.end();
});

/** What the access log does, from the narrowest scope to the widest. */
for (const [scopes, logs, hasFilter] of [
  [[], undefined, false],
  [[{ disabled: true }], false, false],
  [[{ disabled: false }], true, false],
  [[{ filter: { expression: "true" } }], true, true],
  [[{ fields: { a: { literal: { value: "x" } } } }], undefined, false],
  [[{ filter: { expression: "true" } }, { disabled: true }], false, true],
  [[{ disabled: false }, { filter: { expression: "true" } }], true, true],
  [[{ disabled: false }, { disabled: true }], true, false],
] as const)
  void t.test(`the access log: ${JSON.stringify(scopes)}`, (t) => {
    const [narrow, wide] = scopes;
    const { inbound } = compiled([
      ...(narrow === undefined
        ? []
        : [telemetry("shop/n", { accessLogging: [narrow] })]),
      ...(wide === undefined
        ? []
        : [telemetry("wherry-system/m", { accessLogging: [wide] })]),
    ]);
    t.equal(inbound.logs, logs);
    t.equal(inbound.filter !== undefined, hasFilter);
    t.end();
  });

void t.test("tags of a narrower scope replace those of a wider one", (t) => {
  const namesOf = ({ tags }: CallTelemetry): readonly string[] =>
    tags.map(({ name }) => name);
  const value = { literal: { value: "x" } };
  const wide = telemetry("wherry-system/m", {
    tracing: [{ customTags: { a: value, b: value } }],
  });
  const narrow = telemetry("shop/n", {
    tracing: [{ customTags: { c: value } }],
  });
  t.strictSame(namesOf(compiled([wide]).inbound), ["a", "b"]);
  t.strictSame(namesOf(compiled([wide, narrow]).inbound), ["c"]);
  t.end();
});

void t.test("no header is read in which callers bring tokens", (t) => {
  const policy = telemetry("shop/a", {
    tracing: [
      {
        customTags: {
          who: { header: { name: "X-Who" } },
          tenant: { header: { name: "x-tenant", defaultValue: "none" } },
        },
      },
    ],
  });
  t.strictSame(compiled([policy], ["x-who"]).inbound.tags, [
    { name: "tenant", from: "header", what: "x-tenant", otherwise: "none" },
  ]);
  t.end();
});
