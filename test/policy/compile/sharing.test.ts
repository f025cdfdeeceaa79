/** What a change leaves alone is shared by the next snapshot, and is not even looked at (law 16). */
import t from "tap";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Endpoint, Snapshot } from "../../../src/policy/snapshot.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../../src/resources/envelope.ts";
import { UNCONFIRMED_SINCE } from "../../../src/resources/workload/schema.ts";
import {
  authorizationPolicy,
  born,
  httpRoute,
  mesh,
  request,
  self,
  service,
  trafficPolicy,
  VERSION,
  workload,
} from "../../support/resources/policy-fixtures.ts";

const KEPT = { validated: true, owned: true } as const;

function compile(
  resources: readonly Resource[],
  previous?: Snapshot,
): Snapshot {
  return compileSnapshot(resources, self(), VERSION, { ...KEPT, previous });
}

/** The list with these in place of those of their keys, at the end, or without those of the keys. */
function changed(
  resources: readonly Resource[],
  next: readonly Resource[],
  gone = "",
): readonly Resource[] {
  const keys = new Set([...next.map((each) => formatKey(keyOf(each))), gone]);
  return [
    ...resources.filter((each) => !keys.has(formatKey(keyOf(each)))),
    ...next,
  ];
}

function route(name: string, to: string, path = "/a"): Resource {
  return httpRoute(`shop/${name}`, {
    parentRefs: [{ kind: "Service", name }],
    rules: [
      {
        matches: [{ path: { value: path } }],
        backendRefs: [{ name: to, port: 80 }],
      },
    ],
  });
}

/** a leads to itself, b to c; d has no route. */
const SERVICES = ["a", "b", "c", "d"];
const RESOURCES: readonly Resource[] = [
  ...SERVICES.flatMap((name, index) => [
    service(`shop/${name}`),
    workload(`shop/${name}-1`, name, { address: `10.0.0.${index}` }),
  ]),
  service("shop/web"),
  route("a", "a"),
  route("b", "c"),
  authorizationPolicy("shop/web", { action: "ALLOW", rules: [{}] }),
];

/** Which of the Services are other destinations than before, and whether the inbound side is. */
function news(before: Snapshot, after: Snapshot): readonly string[] {
  return [
    ...SERVICES.filter(
      (name) => before.destination(name, 80) !== after.destination(name, 80),
    ),
    ...(before.inbound === after.inbound ? [] : ["inbound"]),
  ];
}

/** What is changed, what comes or changes, what is made anew, and what goes. */
const CHANGES: readonly (readonly [
  string,
  readonly Resource[],
  readonly string[],
  string?,
])[] = [
  ["nothing", [], []],
  ["the same again", [structuredClone(route("a", "a"))], []],
  ["a route", [route("a", "a", "/b")], ["a"]],
  ["a route that goes", [], ["a"], "HTTPRoute shop/a"],
  [
    "an instance that is not ready",
    [workload("shop/d-1", "d", { ready: false })],
    ["d"],
  ],
  [
    "an instance behind a route of another",
    [workload("shop/c-2", "c")],
    ["b", "c"],
  ],
  ["an instance that goes", [], ["d"], "Workload shop/d-1"],
  ["an instance of nobody", [workload("shop/x-1", "x")], []],
  [
    "a Service",
    [
      service(
        "shop/d",
        { ports: [{ port: 80, targetPort: 8080, name: "http" }] },
        born(1),
      ),
    ],
    ["d"],
  ],
  ["a Service that goes from behind a route", [], ["b", "c"], "Service shop/c"],
  ["another Service", [service("shop/e")], []],
  [
    "a policy",
    [
      trafficPolicy("shop/p", {
        targetRefs: [{ kind: "Service", name: "c" }],
        loadBalancer: { simple: "RANDOM" },
      }),
    ],
    ["b", "c"],
  ],
  [
    "who may call",
    [authorizationPolicy("shop/web", { action: "DENY", rules: [{}] })],
    ["inbound"],
  ],
  [
    "the Mesh's defaults",
    [mesh({ defaults: { timeouts: { request: "1s" } } })],
    [...SERVICES, "inbound"],
  ],
];

for (const [title, next, expected, gone] of CHANGES)
  void t.test(`made anew after a change of ${title}`, (t) => {
    const before = compile(RESOURCES);
    const after = compile(changed(RESOURCES, next, gone), before);
    t.strictSame(news(before, after), expected);
    t.end();
  });

void t.test("clusters survive a Mesh that does not concern them", (t) => {
  const before = compile(RESOURCES);
  const after = compile(
    changed(RESOURCES, [mesh({ pathNormalization: "BASE" })]),
    before,
  );
  t.strictSame(
    after.clusters.map((each) => each === before.cluster(each.key)),
    after.clusters.map(() => true),
  );
  t.end();
});

void t.test("a set that is refused leaves nothing behind", (t) => {
  const before = compile(RESOURCES);
  const odd = { ...service("shop/odd"), kind: "Odd" };
  t.throws(() =>
    compile(changed(RESOURCES, [route("a", "a", "/b"), odd]), before),
  );
  const after = compile(RESOURCES, before);
  t.strictSame(news(before, after), []);
  t.end();
});

/** The resource, and how often its spec or its labels were asked for. */
function watched<R extends Resource>(
  resource: R,
): { readonly resource: R; readonly reads: () => number } {
  let reads = 0;
  const { spec, metadata } = resource;
  const { labels } = metadata;
  return {
    resource: {
      ...resource,
      metadata: {
        ...metadata,
        get labels() {
          reads += 1;
          return labels;
        },
      },
      get spec() {
        reads += 1;
        return spec;
      },
    },
    reads: () => reads,
  };
}

/** What a change makes the compile look at, of resources that it leaves alone. */
function looksAt(
  resources: readonly Resource[],
  next: Resource,
): ReadonlyMap<string, number> {
  const all = resources.map(watched);
  const list = all.map(({ resource }) => resource);
  const before = compile(list);
  const counts = all.map(({ reads }) => reads());
  compile(changed(list, [next]), before);
  return new Map(
    all.flatMap(({ resource, reads }, index) => {
      const more = reads() - (counts[index] ?? 0);
      return more > 0 ? [[formatKey(keyOf(resource)), more]] : [];
    }),
  );
}

void t.test("an instance that comes or goes compiles no route", (t) => {
  const looks = looksAt(RESOURCES, workload("shop/c-1", "c", { ready: false }));
  t.strictSame(
    [...looks.keys()].filter((key) => key.startsWith("HTTPRoute")),
    [],
  );
  t.ok(looks.has("Service shop/c"));
  t.notOk(looks.has("Service shop/b"));
  t.end();
});

/** Services of one namespace, an instance each, that have a label in common. */
function crowd(count: number): readonly Resource[] {
  return Array.from({ length: count }, (_none, index) => {
    const labels = { env: "live", app: `s${index}` };
    const address = `10.0.${index >> 8}.${index & 255}`;
    return [
      service(`shop/s${index}`, { selector: labels }),
      workload(`shop/w${index}`, "a", { address }, { labels }),
      route(`s${index}`, `s${index}`),
    ];
  }).flat();
}

void t.test("what a change looks at does not grow with the mesh", (t) => {
  for (const next of [
    route("s7", "s7", "/b"),
    workload(
      "shop/w7",
      "a",
      { ready: false },
      { labels: { env: "live", app: "s7" } },
    ),
    service("shop/new", { selector: { env: "live", app: "s7" } }),
  ]) {
    const [small, large] = [50, 400].map((count) =>
      looksAt(crowd(count), next),
    );
    t.strictSame(small, large, formatKey(keyOf(next)));
    t.ok((small?.size ?? 0) < 6, [...(small?.keys() ?? [])].join(", "));
  }
  t.end();
});

void t.test(
  "the first compile looks at each resource as often, however many there are",
  (t) => {
    const looks = (count: number): number => {
      const all = crowd(count).map(watched);
      compile(all.map(({ resource }) => resource));
      return all.reduce((sum, { reads }) => sum + reads(), 0) / count;
    };
    t.equal(looks(50), looks(400));
    t.end();
  },
);

void t.test("requests find all of it in a snapshot of many compiles", (t) => {
  let resources = crowd(40);
  let snapshot = compile(resources);
  for (let index = 0; index < 40; index += 1) {
    resources = changed(resources, [
      route(`s${index}`, `s${(index + 1) % 40}`, "/b"),
    ]);
    snapshot = compile(resources, snapshot);
  }
  for (let index = 0; index < 40; index += 1)
    t.match(snapshot.destination(`s${index}`, 80)?.route(request("/b"), 0), {
      kind: "forward",
      cluster: { key: `s${(index + 1) % 40}.shop:80` },
    });
  t.end();
});

void t.test("an unconfirmed Workload changes its endpoint alone", (t) => {
  const instance = (name: string, annotations?: Record<string, string>) =>
    workload(`shop/${name}`, "a", {}, annotations && { annotations });
  const before = [service("shop/a"), instance("a-1"), instance("a-2")];
  const first = compile(before);
  const since = { [UNCONFIRMED_SINCE]: "2026-01-01T00:00:00.000Z" };
  const second = compile(changed(before, [instance("a-2", since)]), first);
  const ends = (of: Snapshot): readonly Endpoint[] =>
    of.destination("a", 80)?.cluster.endpoints ?? [];
  t.equal(ends(second)[0], ends(first)[0]);
  t.match(ends(second)[1], { workload: "shop/a-2", unconfirmed: true });
  const third = compile(before, second);
  t.notHas(ends(third)[1], { unconfirmed: true });
  t.end();
});
