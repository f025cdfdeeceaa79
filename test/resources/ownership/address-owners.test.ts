import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import {
  addressLosses,
  placesOf,
} from "../../../src/resources/ownership/address-owners.ts";
import {
  REGISTERED_BY,
  type WorkloadResource,
  type WorkloadSpec,
} from "../../../src/resources/workload/schema.ts";

function workload(
  name: string,
  spec: Partial<WorkloadSpec>,
  registered = false,
): WorkloadResource {
  const [namespace = "", short = ""] = name.split("/");
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Workload",
    metadata: {
      name: short,
      namespace,
      ...(registered ? { annotations: { [REGISTERED_BY]: "spiffe://x" } } : {}),
    },
    spec: {
      address: "10.0.0.7",
      ports: { http: 8080 },
      serviceAccount: short,
      ...spec,
    },
  };
}

void t.test("a Workload claims its ports and its sidecar's", (t) => {
  for (const [spec, places] of [
    [{}, ["10.0.0.7:8080"]],
    [{ link: { port: 15008 } }, ["10.0.0.7:8080", "10.0.0.7:15008"]],
    [{ ports: { a: 1, b: 1, c: 2 } }, ["10.0.0.7:1", "10.0.0.7:2"]],
    [{ ports: {} }, []],
    [{ address: "::ffff:10.0.0.7" }, ["10.0.0.7:8080"]],
    [{ address: "FD00::0:A" }, ["[fd00::a]:8080"]],
    [{ address: "Orders.Example" }, ["orders.example:8080"]],
  ] as const)
    t.same(placesOf(workload("shop/a", spec)), places);
  t.end();
});

void t.test(
  "a place is its first identity's, with all instances; a registration comes before what persons wrote",
  (t) => {
    const rows: readonly (readonly [
      string,
      readonly WorkloadResource[],
      readonly string[],
    ])[] = [
      ["one alone", [workload("shop/a", {})], []],
      [
        "the oldest of two",
        [workload("shop/a", {}), workload("evil/b", {})],
        ["evil/b"],
      ],
      [
        "the same account in another namespace",
        [workload("shop/a", {}), workload("evil/b", { serviceAccount: "a" })],
        ["evil/b"],
      ],
      [
        "another instance of the same account",
        [workload("shop/a", {}), workload("shop/b", { serviceAccount: "a" })],
        [],
      ],
      [
        "another port",
        [workload("shop/a", {}), workload("evil/b", { ports: { x: 8081 } })],
        [],
      ],
      [
        "another address",
        [workload("shop/a", {}), workload("evil/b", { address: "10.0.0.8" })],
        [],
      ],
      [
        "the port of the other's sidecar",
        [
          workload("shop/a", { link: { port: 15008 } }),
          workload("evil/b", { ports: { x: 15008 } }),
        ],
        ["evil/b"],
      ],
      [
        "an older one of a person",
        [workload("evil/b", {}), workload("shop/a", {}, true)],
        ["evil/b"],
      ],
    ];
    for (const [name, workloads, losers] of rows) {
      t.same(
        atOnce(addressLosses(workloads)).map(
          ({ loser: { metadata } }) =>
            `${metadata.namespace ?? ""}/${metadata.name}`,
        ),
        losers,
        name,
      );
    }
    t.end();
  },
);
