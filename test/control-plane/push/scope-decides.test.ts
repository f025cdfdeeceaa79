/** What is left out of a sidecar's scope changes none of its decisions: from all that the store has, it would decide the same. */
import t from "tap";
import {
  CONNECTION,
  headersOf,
} from "../../support/resources/policy-fixtures.ts";
import { Catalogue } from "../../../src/control-plane/push/catalogue/catalogue.ts";
import {
  type SelfDescription,
  type Snapshot,
} from "../../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { RoutedRequest } from "../../../src/policy/router/candidate.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { resource } from "../../support/meshes/pair.ts";
import {
  BACKENDS,
  randomMesh,
  randomPolicies,
  randomRequest,
  seeded,
} from "../../support/resources/random-policy.ts";

const VERSION = { store: "test", revision: 1, digest: "" };

function self(name: string, namespace: string): SelfDescription {
  return {
    name: `${name}-1`,
    namespace,
    serviceAccount: name,
    labels: { app: name },
    identity: `spiffe://cluster.local/ns/${namespace}/sa/${name}`,
  };
}

const workloads = ["orders", "web"].map((name) =>
  resource(
    "Workload",
    `${name}-1`,
    {
      address: "10.0.0.1",
      ports: { http: 80 },
      link: { port: 15008 },
      serviceAccount: name,
    },
    { labels: { app: name } },
  ),
);

/** As the caller's side and the callee's side see it. */
function decisions(snapshot: Snapshot, request: RoutedRequest): unknown {
  return {
    routes: snapshot.destinations.map((destination) => [
      destination.key,
      destination.route(request, 0.5),
      destination.faults?.map(({ policy }) => policy),
    ]),
    ports: snapshot.inbound.ports.map((port) => [
      port.key,
      port.mtls,
      port.authorize({
        peer: "spiffe://cluster.local/ns/shop/sa/web",
        port: port.targetPort,
        connection: CONNECTION,
        request: { host: "orders.shop", ...request },
      }),
    ]),
  };
}

void t.test("20 random sets, for four workloads each", (t) => {
  for (let set = 1; set <= 20; set += 1) {
    const draw = seeded(set);
    const resources: Resource[] = [
      resource("Mesh", "default", randomMesh(draw)),
      ...BACKENDS.map((name) =>
        resource("Service", name, {
          ports: [{ name: "http", port: 80 }],
          selector: { app: "orders" },
          ...(draw() < 0.3 ? { exportTo: ["."] } : {}),
        }),
      ),
      ...workloads,
      ...randomPolicies(draw),
    ];
    const catalogue = new Catalogue();
    for (const resource of resources) catalogue.put(resource);
    for (const who of [
      self("orders", "shop"),
      self("web", "shop"),
      self("web", "far"),
      self("nobody", "far"),
    ]) {
      const all = compileSnapshot(resources, who, VERSION);
      const view = catalogue.open(who);
      const pushed = view.set.entries
        .values()
        .flatMap(({ resource }) => resource ?? []);
      const own = compileSnapshot(pushed, who, VERSION);
      for (let index = 0; index < 20; index += 1) {
        const { method, path, headers } = randomRequest(draw);
        const [bare = "", query = ""] = path.split("?");
        const request = {
          method,
          path: bare,
          query,
          ...headersOf(headers),
        };
        const wanted = JSON.stringify(decisions(all, request));
        if (JSON.stringify(decisions(own, request)) !== wanted)
          t.strictSame(
            decisions(own, request),
            decisions(all, request),
            `set ${set}, ${who.identity}`,
          );
      }
    }
  }
  t.pass("all are the same");
  t.end();
});
