/** Who has a fixed address: the mesh's own workloads, then the oldest external Service that the same callers see; sidecars decide so. */
import t from "tap";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import { conflicts } from "../../../src/resources/cross-checks/conflicts.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { ServiceSpec } from "../../../src/resources/service/schema.ts";
import {
  born,
  self,
  service,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

const fixed = (
  name: string,
  age: number,
  address: string,
  spec: Partial<ServiceSpec> = {},
): Resource =>
  service(
    name,
    {
      location: "MESH_EXTERNAL",
      hosts: [`${name.replace("/", ".")}.example`],
      resolution: "STATIC",
      endpoints: [{ address }],
      ports: [{ port: 8080 }],
      ...spec,
    },
    born(age),
  );
const ORDERS = service("shop/orders", {}, born(9));
const HIDDEN = service("shop/orders", { exportTo: ["."] }, born(9));
const INSTANCE = workload("shop/orders-1", "orders");

/** Resources; "LOSER < WINNER" of each loss; what callers in shop reach by 10.0.0.1:8080. */
const CASES: readonly (readonly [
  string,
  readonly Resource[],
  readonly string[],
  string | undefined,
])[] = [
  [
    "the mesh's own first, however young",
    [fixed("bank/a", 1, "10.0.0.1"), ORDERS, INSTANCE],
    ["bank/a < shop/orders-1"],
    "orders.shop:80",
  ],
  [
    "another port is another place",
    [
      fixed("bank/a", 1, "10.0.0.1", { ports: [{ port: 9000 }] }),
      ORDERS,
      INSTANCE,
    ],
    [],
    "orders.shop:80",
  ],
  [
    "the older external Service",
    [fixed("bank/a", 2, "10.0.0.1"), fixed("late/b", 1, "10.0.0.1")],
    ["bank/a < late/b"],
    "b.late:8080",
  ],
  [
    "what callers do not see both of does not compete",
    [
      fixed("bank/a", 1, "10.0.0.1", { exportTo: ["."] }),
      fixed("late/b", 2, "10.0.0.1", { exportTo: ["shop"] }),
      HIDDEN,
    ],
    [],
    "b.late:8080",
  ],
  [
    "a workload whose Service those callers do not see",
    [fixed("bank/a", 1, "10.0.0.1", { exportTo: ["."] }), HIDDEN, INSTANCE],
    [],
    "orders.shop:80",
  ],
];

for (const [name, resources, losses, reached] of CASES)
  void t.test(name, (t) => {
    t.same(
      conflicts(resources).map(({ loser, winner, reason, path }) => {
        t.equal(reason, "AddressTaken");
        t.equal(path, "spec.endpoints[0]");
        const [left, right] = [loser, winner].map(
          ({ metadata }) => `${metadata.namespace ?? ""}/${metadata.name}`,
        );
        return `${left ?? ""} < ${right ?? ""}`;
      }),
      losses,
    );
    t.equal(
      compileSnapshot(resources, self(), VERSION).destinationByAddress(
        "10.0.0.1",
        8080,
      )?.key,
      reached,
    );
    t.end();
  });

void t.test("what is told of an address that two Services have", (t) => {
  const message = (younger: string): string | undefined =>
    conflicts([
      fixed("bank/a", 1, "10.0.0.1"),
      fixed(younger, 2, "10.0.0.1"),
    ])[0]?.message;
  t.match(message("late/b"), /stay there$/);
  t.match(message("bank/b"), /but for requests that name this Service$/);
  t.end();
});
