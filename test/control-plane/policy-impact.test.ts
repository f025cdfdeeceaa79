/** What a written security policy is said to do is found by a look at the workloads that it may be for, not at the whole mesh. */
import t from "tap";
import { ObservedCalls } from "../../src/control-plane/observed/observed-calls.ts";
import {
  impactOfRemovals,
  impactOfWrites,
} from "../../src/control-plane/policy-impact.ts";
import { Catalogue } from "../../src/control-plane/push/catalogue/catalogue.ts";
import type { MeshView } from "../../src/control-plane/push/catalogue/mesh-view.ts";
import { keyOf, type Resource } from "../../src/resources/envelope.ts";
import { PEER } from "../support/control-plane/registry.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import {
  authorizationPolicy,
  peerAuthentication,
  service,
  workload,
} from "../support/resources/policy-fixtures.ts";

const SERVICES = ["shop/web", "shop/cart", "far/web"];
const EACH = 4;

const MESH = SERVICES.flatMap((path) => [
  service(path),
  ...Array.from({ length: EACH }, (_, at) =>
    workload(`${path}-${EACH - at}`, path.split("/")[1] ?? ""),
  ),
]);

/** A mesh of these, and the Workloads that are read of it. */
function meshOf(...more: readonly Resource[]): {
  mesh: MeshView;
  read: string[];
} {
  const catalogue = new Catalogue();
  catalogue.replace([...MESH, ...more]);
  const { mesh } = catalogue;
  const read: string[] = [];
  const reads = <R extends Resource>(found: readonly R[]): readonly R[] => {
    for (const { kind, metadata } of found)
      if (kind === "Workload")
        read.push(`${metadata.namespace ?? ""}/${metadata.name}`);
    return found;
  };
  const reach = (): ReturnType<MeshView["reach"]> => {
    const made = mesh.reach();
    return {
      ...made,
      inhabitants: (namespace) => {
        const there = made.inhabitants(namespace);
        return (
          there && {
            services: () => there.services(),
            workloads: (labels) => reads([...there.workloads(labels)]),
          }
        );
      },
    };
  };
  const list: MeshView["list"] = (kind, namespace) =>
    reads(mesh.list(kind, namespace));
  return { mesh: { ...mesh, list, reach }, read };
}

const none = (): undefined => undefined;
const WEB = { selector: { matchLabels: { app: "web" } } };
const CLOSES_WEB =
  "is the first ALLOW of shop/web-1, shop/web-2, shop/web-3, shop/web-4: it closes them";

/** A policy, how many Workloads are read for it, and what its first line begins with. */
const ROWS: readonly (readonly [string, Resource, number, string])[] = [
  ["a selector", authorizationPolicy("shop/p", WEB), 4, CLOSES_WEB],
  [
    "targetRefs",
    authorizationPolicy("shop/p", {
      targetRefs: [{ kind: "Service", name: "web" }],
    }),
    8,
    CLOSES_WEB,
  ],
  [
    "a namespace",
    authorizationPolicy("far/p", {}),
    4,
    "is the first ALLOW of far/web-1, far/web-2, far/web-3, far/web-4: ",
  ],
  [
    "the whole mesh",
    authorizationPolicy("wherry-system/p", {}),
    12,
    "is the first ALLOW of far/web-1, far/web-2, far/web-3, far/web-4, shop/cart-1 and 7 more: ",
  ],
  [
    "a selector in the whole mesh",
    authorizationPolicy("wherry-system/p", WEB),
    8,
    "is the first ALLOW of far/web-1, far/web-2, far/web-3, far/web-4, shop/web-1 and 3 more: ",
  ],
  ["STRICT", peerAuthentication("shop/p", { mtls: { mode: "STRICT" } }), 0, ""],
];

for (const [title, policy, count, expected] of ROWS)
  void t.test(`${title}: ${count} Workloads are read`, async (t) => {
    const observed = new ObservedCalls(fakeClock());
    const { mesh, read } = meshOf();
    const [found = []] = await impactOfWrites([policy], mesh, observed, none);
    const said = found.map(({ message }) => message).join("\n");
    t.equal(said.slice(0, expected.length), expected);
    t.equal(said === "", expected === "");
    t.equal(read.length, count, read.join(" "));
    const changed = meshOf(policy);
    await impactOfWrites([policy], changed.mesh, observed, none);
    t.equal(changed.read.length, count, "once for both of its versions");
    if (expected === "") return;
    const stored = meshOf(policy);
    const removed = await impactOfRemovals(
      [keyOf(policy)],
      stored.mesh,
      observed,
      none,
    );
    t.match(removed, [[/^was the last ALLOW of /]]);
    t.equal(stored.read.length, count, "of a removal");
  });

void t.test("what a certificate binds counts, stored or not", async (t) => {
  const observed = new ObservedCalls(fakeClock());
  const call = {
    ...{ policy: "", effect: "", peer: "", address: "10.0.0.2", port: 80 },
    ...{ method: "GET", host: "web", path: "/", count: 1 },
    ...{ firstAge: 1000, lastAge: 0 },
  };
  const calls = { calls: [call], dropped: 0 };
  observed.report({ ...PEER, name: "gone" }, calls);
  observed.report({ ...PEER, name: "cart-1" }, calls);
  observed.report({ ...PEER, name: "web-1", labels: { app: "cart" } }, calls);
  const elsewhere = { ...PEER, namespace: "far", name: "gone" };
  observed.report(elsewhere, calls);
  const [found = []] = await impactOfWrites(
    [authorizationPolicy("shop/p", WEB)],
    meshOf().mesh,
    observed,
    none,
  );
  t.match(
    found.map(({ message }) => message),
    [
      /^is the first ALLOW of shop\/cart-1, shop\/gone, shop\/web-2, shop\/web-3, shop\/web-4: /,
      /^would refuse calls of the last hour: plaintext 10\.0\.0\.2 GET \/ on port 80 \(2 times\)/,
    ],
  );
});
