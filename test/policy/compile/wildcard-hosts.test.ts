/** Hosts below wildcards of external Services: which Service has one, what it leads to, and how many are kept. */
import t from "tap";
import { atOnce } from "../../../src/core/slices.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import { MOST_HOSTS } from "../../../src/policy/compile/outside/below-wildcards.ts";
import { destinationDecision } from "../../../src/policy/explain/route-decisions.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { hostLosses } from "../../../src/resources/ownership/host-owners.ts";
import type { ServiceResource } from "../../../src/resources/service/schema.ts";
import {
  born,
  httpRoute,
  mesh,
  request,
  self,
  service,
  trafficPolicy,
  VERSION,
} from "../../support/resources/policy-fixtures.ts";

const external = (
  name: string,
  age: number,
  hosts: readonly string[],
  ports: readonly number[] = [443],
  more: object = {},
): ServiceResource =>
  service(
    name,
    {
      location: "MESH_EXTERNAL",
      hosts,
      ports: ports.map((port) => ({ name: `p${port}`, port })),
      ...more,
    },
    born(age),
  );

function compile(
  resources: readonly Resource[],
  previous?: Snapshot,
): Snapshot {
  return compileSnapshot(resources, self(), VERSION, { previous });
}

interface Case {
  readonly title: string;
  /** The oldest first. */
  readonly services: readonly ServiceResource[];
  /** "HOST:PORT" → the key that it leads to. */
  readonly leads: Readonly<Record<string, string | undefined>>;
  /** "LOSER HOST < WINNER" */
  readonly losses?: readonly string[];
}

const CASES: readonly Case[] = [
  {
    title: "any number of labels, and never the name itself",
    services: [external("shop/w", 1, ["*.example.com"])],
    leads: {
      "a.example.com:443": "w.shop:443@a.example.com:443",
      "A.Example.com.:443": "w.shop:443@a.example.com:443",
      "b.a.example.com:443": "w.shop:443@b.a.example.com:443",
      "a.b.c.d.e.f.g.h.i.j.example.com:443":
        "w.shop:443@a.b.c.d.e.f.g.h.i.j.example.com:443",
      "example.com:443": undefined,
      "the-example.com:443": undefined,
      "a.example.com.org:443": undefined,
      "*.example.com:443": undefined,
      "a.example.com:80": undefined,
    },
  },
  {
    title: "the host itself before the longest wildcard, in one namespace",
    services: [
      external("shop/w", 1, ["*.example.com"], [443, 80]),
      external("shop/longer", 2, ["*.eu.example.com"]),
      external("shop/exact", 3, ["api.eu.example.com", "b.example.com"]),
    ],
    leads: {
      "a.example.com:443": "w.shop:443@a.example.com:443",
      "a.eu.example.com:443": "longer.shop:443@a.eu.example.com:443",
      "a.eu.example.com:80": "w.shop:80@a.eu.example.com:80",
      "api.eu.example.com:443": "exact.shop:443@api.eu.example.com:443",
      "api.eu.example.com:80": "w.shop:80@api.eu.example.com:80",
      "x.api.eu.example.com:443": "longer.shop:443@x.api.eu.example.com:443",
    },
    losses: [],
  },
  {
    title: "one Service with both",
    services: [external("shop/w", 1, ["*.example.com", "example.com"])],
    leads: {
      "example.com:443": "w.shop:443@example.com:443",
      "a.example.com:443": "w.shop:443@a.example.com:443",
    },
  },
  {
    title: "an older wildcard of another namespace has what is below it",
    services: [
      external("a/w", 1, ["*.example.com"]),
      external("shop/exact", 2, ["api.example.com"]),
      external("shop/longer", 3, ["*.eu.example.com"]),
    ],
    leads: {
      "api.example.com:443": "w.a:443@api.example.com:443",
      "a.eu.example.com:443": "w.a:443@a.eu.example.com:443",
    },
    losses: [
      "shop/exact api.example.com < a/w",
      "shop/longer *.eu.example.com < a/w",
    ],
  },
  {
    title: "a younger wildcard of another namespace takes nothing",
    services: [
      external("shop/exact", 1, ["api.example.com"]),
      external("a/w", 2, ["*.example.com"]),
    ],
    leads: {
      "api.example.com:443": "exact.shop:443",
      "api.example.com:80": undefined,
      "b.example.com:443": "w.a:443@b.example.com:443",
    },
    losses: [],
  },
  {
    title: "the namespace of the oldest claim has the host, however it claims",
    services: [
      external("a/w", 1, ["*.example.com"]),
      external("b/exact", 2, ["api.example.com"]),
      external("a/exact", 3, ["api.example.com"]),
    ],
    leads: { "api.example.com:443": "exact.a:443" },
    losses: ["b/exact api.example.com < a/w"],
  },
  {
    title: "names of the mesh's own are below no wildcard",
    services: [
      external("shop/w", 1, ["*.cluster.local", "*.example.com"]),
      service("shop/orders", { ports: [{ port: 443 }] }, born(2)),
    ],
    leads: {
      "nobody.shop.svc.cluster.local:443": undefined,
      "a.cluster.local:443": undefined,
      "a.example.com:443": "w.shop:443@a.example.com:443",
      "orders.shop.svc.cluster.local:443": "orders.shop:443",
    },
  },
];

for (const { title, services, leads, losses } of CASES)
  void t.test(title, (t) => {
    const snapshot = compile(services);
    for (const [place, expected] of Object.entries(leads)) {
      const at = place.lastIndexOf(":");
      const found = snapshot.destination(
        place.slice(0, at),
        Number(place.slice(at + 1)),
      );
      t.equal(found?.key, expected, place);
    }
    if (losses !== undefined) {
      const rules = { trustDomain: "cluster.local", hostClaims: [] };
      t.strictSame(
        atOnce(hostLosses(services, rules)).map(
          ({ loser, winner, index }) =>
            `${loser.metadata.namespace ?? ""}/${loser.metadata.name} ${loser.spec.hosts?.[index] ?? ""} < ${winner?.metadata.namespace ?? ""}/${winner?.metadata.name ?? ""}`,
        ),
        losses,
      );
    }
    t.end();
  });

void t.test(
  "each host is a cluster of its own, with the Service's settings",
  (t) => {
    const privateFetch = { ranges: ["10.0.0.0/8"] };
    const policy = trafficPolicy("shop/w", {
      targetRefs: [{ kind: "Service", name: "w" }],
      tls: { mode: "SIMPLE" },
    });
    const services = [
      mesh({ privateFetch }),
      external("shop/w", 1, ["*.example.com"]),
    ];
    const first = compile([...services, policy]);
    const destination = first.destination("a.example.com", 443);
    t.match(destination?.cluster, {
      destination: "w.shop:443",
      external: true,
      belowWildcard: true,
      policy: "shop/w",
      settings: { tls: { mode: "SIMPLE" } },
      endpoints: [
        {
          key: "a.example.com:443",
          address: "a.example.com",
          reach: { hosts: [], ranges: ["10.0.0.0/8"] },
        },
      ],
    });
    t.equal(first.destination("a.example.com", 443), destination, "the same");
    t.match(
      destination &&
        destinationDecision(() => undefined, destination).details[1],
      /a\.example\.com is below a wildcard/,
      "explain says it",
    );
    const { cluster } = destination ?? {};
    t.equal(first.cluster(cluster?.key ?? ""), cluster);
    t.equal(first.cluster("w.shop:443@b.example.com:443"), undefined);
    t.strictSame(first.cluster("w.shop:443")?.endpoints, [], "nowhere else");

    const same = compile(
      [...services, policy, service("shop/other", {}, {})],
      first,
    );
    t.equal(same.cluster(cluster?.key ?? ""), cluster, "kept over a change");
    const changed = compile(services, same);
    t.match(changed.cluster(cluster?.key ?? ""), { policy: undefined });
    const narrower = compile(
      [external("shop/w", 1, ["*.b.example.com"])],
      changed,
    );
    t.equal(narrower.cluster(cluster?.key ?? ""), undefined, "no longer below");
    t.end();
  },
);

void t.test("a route that leads to the Service leads to the host", (t) => {
  const snapshot = compile([
    external("shop/w", 1, ["*.example.com", "a.example.org", "b.example.org"]),
    external("shop/z", 2, ["z.example.org"]),
    httpRoute("shop/w", {
      parentRefs: [{ kind: "Service", group: "mesh.wherry.dev", name: "w" }],
      rules: [
        {
          matches: [{ path: { type: "PathPrefix", value: "/z" } }],
          backendRefs: [{ name: "z", port: 443 }],
        },
        {
          backendRefs: [{ name: "w", port: 443 }],
          timeouts: { request: "2s" },
        },
      ],
    }),
  ]);
  // Below the wildcard, and one of several that are written down.
  for (const host of ["a.example.com", "b.example.org"]) {
    const destination = snapshot.destination(host, 443);
    const to = (path: string): unknown => {
      const decision = destination?.route(request(path), 0);
      return decision?.kind === "forward"
        ? [decision.cluster.key, decision.timeouts.request]
        : decision;
    };
    const key = `w.shop:443@${host}:443`;
    t.strictSame(to("/"), [key, 2000]);
    t.strictSame(to("/z"), ["z.shop:443", 0]);
    t.match(destination?.explain(request("/")).shares, [
      { decision: { cluster: { key } } },
    ]);
  }
  t.end();
});

void t.test("so many hosts are kept, those that were called last", (t) => {
  const snapshot = compile([external("shop/w", 1, ["*.example.com"])]);
  const call = (host: string): string =>
    snapshot.destination(`${host}.example.com`, 443)?.key ?? "";
  const kept = call("kept");
  const gone = call("gone");
  for (let index = 0; index < MOST_HOSTS - 1; index += 1) {
    call(`h${index}`);
    call("kept");
  }
  t.ok(snapshot.cluster(kept), "called all the time");
  t.equal(snapshot.cluster(gone), undefined, "made room");
  t.ok(snapshot.cluster(call("gone")), "and is there again when it is called");
  t.end();
});

void t.test(
  "a captured request has no Service by a host that another has",
  (t) => {
    const fixed = {
      resolution: "STATIC",
      endpoints: [{ address: "192.0.2.1" }],
    };
    const to = (services: readonly ServiceResource[]): string | undefined =>
      compile(services).destinationOfCaptured("192.0.2.1", 443, {
        host: "api.example.com",
        port: undefined,
      })?.key;
    const exact = external("shop/exact", 2, ["api.example.com"], [443], fixed);
    t.equal(to([exact]), "exact.shop:443");
    t.equal(
      to([external("a/w", 1, ["*.example.com"]), exact]),
      "exact.shop:443@192.0.2.1:443",
      "it goes to the place that was dialled, past the Service's routes",
    );
    t.end();
  },
);
