/** What is recorded of a call, as its explanation says it, on both sides. */
import t from "tap";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import {
  explainCall,
  type CallExplanation,
} from "../../../src/policy/explain/call.ts";
import { lookupIn } from "../../../src/policy/explain/decision.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  born,
  mesh,
  self,
  service,
  telemetry,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

const NET = [
  mesh(),
  service("shop/orders"),
  workload("shop/orders-1", "orders"),
];

function explained(resources: readonly Resource[]): CallExplanation {
  const all = [...NET, ...resources];
  const find = lookupIn(all);
  const caller = compileSnapshot(all, self(), VERSION);
  const callee = compileSnapshot(
    all,
    self({ name: "orders-1", labels: { app: "orders" } }),
    VERSION,
  );
  const destination = caller.destination("orders", 80);
  if (destination === undefined) throw new Error("orders is not there");
  return explainCall({
    caller: { snapshot: caller, find, plaintext: false },
    where: { kind: "mesh", destination },
    head: {
      ...{ method: "GET", scheme: "http", authority: "orders", path: "/" },
      fields: [],
    },
    tunnel: false,
    draw: undefined,
    workload: undefined,
    wall: 0,
    calleeOf: () => ({ snapshot: callee, find }),
  });
}

const recorded = ({ decisions }: CallExplanation): readonly unknown[] =>
  decisions
    .filter(({ step }) => step === "telemetry")
    .map(({ side, outcome, source, details }) => [
      side,
      outcome,
      source?.resource,
      details,
    ]);

void t.test("nothing is said where no Telemetry acts", (t) => {
  t.strictSame(recorded(explained([])), []);
  t.end();
});

void t.test("each side says what is in force there, and by what", (t) => {
  const answer = explained([
    telemetry("wherry-system/mesh", {
      tracing: [{ randomSamplingPercentage: 5 }],
    }),
    telemetry(
      "shop/orders",
      {
        selector: { matchLabels: { app: "orders" } },
        tracing: [
          {
            disableSpanReporting: true,
            customTags: { tenant: { header: { name: "x-tenant" } } },
          },
        ],
        accessLogging: [
          {
            filter: { expression: "connection.mtls" },
            fields: { region: { literal: { value: "eu" } } },
          },
        ],
      },
      born(1),
    ),
    telemetry(
      "shop/late",
      {
        selector: { matchLabels: { app: "orders" } },
        accessLogging: [{ disabled: true }],
      },
      born(2),
    ),
  ]);
  t.strictSame(recorded(answer), [
    [
      "caller",
      "new traces are sampled at 5 %; access log: as --access-log says",
      "Telemetry/wherry-system/mesh",
      [],
    ],
    [
      "callee",
      "new traces are sampled at 5 %, and no span is sent; access log: what the filter takes",
      "Telemetry/shop/orders",
      [
        "spans also have tenant",
        "lines also have region",
        "what it leaves open: Telemetry/wherry-system/mesh",
      ],
    ],
  ]);
  t.match(
    answer.decisions.find(
      ({ step, side }) => step === "telemetry" && side === "callee",
    )?.notMatched,
    [
      {
        source: { resource: "Telemetry/shop/late" },
        why: "shop/orders, for the same workloads, is older",
      },
    ],
  );
  t.end();
});

for (const [disabled, text] of [
  [true, "off"],
  [false, "every request"],
] as const)
  void t.test(`the access log: ${text}`, (t) => {
    const answer = explained([
      telemetry("shop/all", { accessLogging: [{ disabled }] }),
    ]);
    t.strictSame(
      recorded(answer).map((each) => (each as unknown[])[1]),
      [0, 1].map(() => `new traces are sampled at 1 %; access log: ${text}`),
    );
    t.end();
  });
