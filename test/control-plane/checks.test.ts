/** Resources are judged against what the store holds, asked for as the check goes, and against each other. */
import t from "tap";
import { checkAgainstStore } from "../../src/control-plane/checks.ts";
import { Catalogue } from "../../src/control-plane/push/catalogue/catalogue.ts";
import type { MeshView } from "../../src/control-plane/push/catalogue/mesh-view.ts";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import type { Store } from "../../src/control-plane/store/store.ts";
import type { Problem } from "../../src/resources/kind.ts";
import { KINDS } from "../../src/resources/registry.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";

const check = (
  store: Pick<Store, "get" | "list">,
  resources: readonly Resource[],
  trustDomain = "cluster.local",
  clock: Pick<FakeClock, "now" | "wall"> = fakeClock(),
): Promise<readonly (readonly Problem[])[]> =>
  checkAgainstStore(resources, {
    store,
    mesh: { current: () => meshOf(store) },
    trustDomain,
    clock,
  });

const meshOf = async (
  store: Pick<Store, "list">,
): Promise<{ mesh: MeshView; revision: number }> => {
  const catalogue = new Catalogue();
  const listings = await Promise.all(KINDS.map(({ kind }) => store.list(kind)));
  catalogue.replace(listings.flatMap(({ resources }) => resources));
  return { mesh: catalogue.mesh, revision: 0 };
};

const line = ({ path, message, severity = "error" }: Problem): string =>
  `${severity} ${path}: ${message}`;

void t.test("references and the trust domain", async (t) => {
  const store = openMemoryStore({ clock: fakeClock() });
  const route = (port: number): Resource => ({
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name: "r", namespace: "shop" },
    spec: {
      parentRefs: [{ name: "a", kind: "Service", port: 80 }],
      rules: [{ backendRefs: [{ name: "b", port }] }],
    },
  });
  for (const name of ["a", "b"])
    await store.put(
      {
        apiVersion: "mesh.wherry.dev/v1alpha1",
        kind: "Service",
        metadata: { name, namespace: "shop" },
        spec: { ports: [{ port: 80 }], selector: { app: name } },
      },
      undefined,
    );
  const paths = async (resource: Resource, domain = "cluster.local") =>
    (await check(store, [resource], domain)).flat().map(({ path }) => path);
  t.same(await paths(route(80)), []);
  t.same(await paths(route(81)), ["spec.rules[0].backendRefs[0].port"]);
  const mesh = (trustDomain?: string): Resource => ({
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Mesh",
    metadata: { name: "default" },
    spec: {
      authorization: { defaultAction: "ALLOW" },
      ...(trustDomain === undefined ? {} : { trustDomain }),
    },
  });
  t.same(await paths(mesh()), []);
  t.same(await paths(mesh("a.b"), "a.b"), []);
  t.same(await paths(mesh("a.b")), ["spec.trustDomain"]);
  t.same(
    await paths(mesh(), "a.b"),
    ["spec.trustDomain"],
    "left out, it would be the default and not what the authority issues for",
  );
});

void t.test("hosts of external Services", async (t) => {
  const clock = fakeClock();
  const store = openMemoryStore({ clock });
  const external = (name: string, host: string): Resource => ({
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: {
      name,
      namespace: name,
      // what a writer says of its age is not believed
      creationTimestamp: "1999-01-01T00:00:00Z",
    },
    spec: {
      location: "MESH_EXTERNAL",
      hosts: [host],
      ports: [{ port: 443, appProtocol: "tls" }],
    },
  });
  await store.put(external("first", "api.partner.example"), undefined);
  clock.advance(1000);
  await store.put(external("second", "api.other.example"), undefined);
  const problems = async (resource: Resource, domain = "mesh.example") =>
    (await check(store, [resource], domain)).flat().map(line);
  t.same(await problems(external("first", "api.partner.example")), []);
  t.match(await problems(external("second", "api.partner.example")), [
    /^warning spec\.hosts\[0\]: host api\.partner\.example belongs to Service first\/first/,
  ]);
  t.match(await problems(external("third", "api.partner.example")), [
    /^warning .*namespace first claimed it first/,
  ]);
  t.same(
    await problems(external("first", "api.other.example")),
    [],
    "a Service keeps its age when its hosts change",
  );
  t.match(await problems(external("third", "orders.first")), [
    /^error spec\.hosts\[0\]: .*Service orders in namespace first/,
  ]);
  t.match(await problems(external("third", "a.b.svc.mesh.example")), [
    /^error spec\.hosts\[0\]: .*own name/,
  ]);
});

const OWN = "mesh.wherry.dev/v1alpha1";

function service(name: string, port: number, namespace = "shop"): Resource {
  return {
    apiVersion: OWN,
    kind: "Service",
    metadata: { name, namespace },
    spec: { ports: [{ port }], selector: { app: name } },
  };
}

function external(namespace: string, host: string): Resource {
  return {
    apiVersion: OWN,
    kind: "Service",
    metadata: { name: "out", namespace },
    spec: {
      location: "MESH_EXTERNAL",
      hosts: [host],
      ports: [{ port: 443, appProtocol: "tls" }],
    },
  };
}

function workload(name: string, address: string, account = name): Resource {
  return {
    apiVersion: OWN,
    kind: "Workload",
    metadata: { name, namespace: "shop", labels: { app: name } },
    spec: { address, ports: { http: 8080 }, serviceAccount: account },
  };
}

function route(
  name: string,
  to: string,
  port: number,
  match: Record<string, unknown> = {},
): Resource {
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name, namespace: "shop" },
    spec: {
      parentRefs: [{ name: to, kind: "Service" }],
      rules: [{ matches: [match], backendRefs: [{ name: to, port }] }],
    },
  };
}

function policy(name: string, app: string): Resource {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name, namespace: "shop" },
    spec: { selector: { matchLabels: { app } }, action: "DENY", rules: [{}] },
  };
}

void t.test(
  "a list is judged as if all of it were written, whatever its order",
  async (t) => {
    const store = openMemoryStore({ clock: fakeClock() });
    await store.put(service("orders", 80), undefined);
    await store.put(workload("taken", "10.0.0.1"), undefined);
    const expression = { path: { type: "RegularExpression", value: "/a.*" } };
    const rows: readonly (readonly [string, Resource[], RegExp[]])[] = [
      [
        "a route with its Service",
        [route("r", "web", 80), service("web", 80)],
        [],
      ],
      [
        "a route without its Service",
        [route("r", "web", 80)],
        [/^0 warning .*no Service shop\/web yet/, /^0 warning /],
      ],
      [
        "a route to a port that the Service gets",
        [route("r", "orders", 81), service("orders", 81)],
        [],
      ],
      [
        "a route to a port that the Service loses",
        [route("r", "orders", 80), service("orders", 81)],
        [/^0 error spec\.rules\[0\].*has no port 80/],
      ],
      [
        "a policy with what it selects",
        [policy("p", "cart"), workload("cart", "10.0.0.9")],
        [],
      ],
      [
        "a policy that selects nothing",
        [policy("p", "cart")],
        [/^0 warning spec\.selector: selects nothing/],
      ],
      [
        "an address of two identities: by name the first has it, for all are of one age",
        [workload("b", "10.0.0.2"), workload("a", "10.0.0.2")],
        [/^0 error spec\.address: .*belongs to Workload shop\/a/],
      ],
      [
        "an address of one identity",
        [workload("b", "10.0.0.2", "x"), workload("a", "10.0.0.2", "x")],
        [],
      ],
      [
        "an address that is taken",
        [workload("b", "10.0.0.3"), workload("a", "10.0.0.1")],
        [/^1 error spec\.address: .*belongs to Workload shop\/taken/],
      ],
      [
        "an address that is given up",
        [workload("a", "10.0.0.1"), workload("taken", "10.0.0.4")],
        [],
      ],
      [
        "two Services with one host",
        [external("b", "api.example"), external("a", "api.example")],
        [/^0 warning spec\.hosts\[0\]: .*belongs to Service a\/out/],
      ],
      [
        "a host that becomes a Service's own name",
        [external("a", "web.new"), service("other", 80, "new")],
        [/^0 error spec\.hosts\[0\]: .*namespace new, which this mesh has/],
      ],
      [
        "a host by the name of its own namespace, where no other Service is",
        [external("new", "web.new")],
        [],
      ],
      [
        "a route that takes all that another waits for",
        [
          service("web", 80),
          route("all", "web", 80),
          route("some", "web", 80, expression),
        ],
        [/^2 warning spec\.rules\[0\]\.matches\[0\]\.path: .*never reached/],
      ],
    ];
    for (const [title, resources, expected] of rows)
      for (const reversed of [false, true]) {
        const last = resources.length - 1;
        const found = await check(
          store,
          reversed ? resources.toReversed() : resources,
        );
        const lines = (reversed ? found.toReversed() : found).flatMap(
          (problems, index) => problems.map((each) => `${index} ${line(each)}`),
        );
        t.equal(found.length, last + 1);
        t.equal(lines.length, expected.length, title);
        t.match(lines, expected, title);
      }
  },
);

void t.test(
  "a list asks the store once for what it needs, and lets others have their turn",
  async (t) => {
    const store = openMemoryStore({ clock: fakeClock() });
    for (let count = 0; count < 50; count += 1)
      await store.put(workload(`old-${count}`, `10.0.1.${count}`), undefined);
    const asked: string[] = [];
    const counted: Pick<Store, "get" | "list"> = {
      get: (key) => {
        asked.push(`get ${key.name}`);
        return store.get(key);
      },
      list: (kind, namespace) => {
        asked.push(`list ${kind} ${namespace ?? ""}`);
        return store.list(kind, namespace);
      },
    };
    // A millisecond goes by with each look at the clock.
    const clock = fakeClock();
    const busy = { ...clock, now: () => (clock.advance(1), clock.now()) };
    const turns = { count: 0, over: false };
    const turn = (): void => {
      turns.count += 1;
      if (!turns.over) setImmediate(turn);
    };
    setImmediate(turn);
    const resources = Array.from({ length: 60 }, (_, count) => [
      workload(`new-${count}`, `10.0.2.${count}`),
      route(`r-${count}`, "web", 80),
      external(`ns-${count}`, `host-${count}.example`),
      policy(`p-${count}`, `new-${count}`),
    ]).flat();
    await check(counted, resources, "cluster.local", busy);
    turns.over = true;
    t.same(asked.sort(), [
      "get default",
      "get web",
      "list HTTPRoute shop",
      "list Service ",
      "list Service ",
      "list Workload ",
      "list Workload ",
    ]);
    t.ok(turns.count >= 40, `${turns.count} turns of the event loop`);
  },
);

void t.test(
  "a Workload, a policy or a route by itself is judged without a look at all others",
  async (t) => {
    const clock = fakeClock();
    const store = openMemoryStore({ clock });
    await store.put(service("orders", 80), undefined);
    await store.put(workload("orders-1", "10.0.0.1", "orders"), undefined);
    await store.put(workload("orders-2", "10.0.0.2", "orders"), undefined);
    const expression = { path: { type: "RegularExpression", value: "/a.*" } };
    await store.put(route("all", "orders", 80), undefined);
    clock.advance(1000);
    await store.put(route("some", "orders", 80, expression), undefined);
    const exact = { path: { type: "Exact", value: "/" } };
    await store.put(route("other", "orders", 80, exact), undefined);
    const both = route("both", "cart", 80, expression);
    const spec = both.spec as { parentRefs: object[] };
    spec.parentRefs.push({ name: "orders", kind: "Service" });
    await store.put(both, undefined);
    const { mesh } = await meshOf(store);
    const judge = async (resource: Resource): Promise<string[]> => {
      const found = await checkAgainstStore([resource], {
        store: {
          get: (key) => store.get(key),
          list: (kind) => Promise.reject(new Error(`list ${kind}`)),
        },
        mesh: {
          current: () =>
            Promise.resolve({
              mesh: {
                ...mesh,
                list: (kind): never => {
                  throw new Error(`list ${kind}`);
                },
              },
              revision: 0,
            }),
        },
        trustDomain: "cluster.local",
        clock,
      });
      return found.flat().map(line);
    };
    t.same(await judge(workload("orders-1", "10.0.0.1", "orders")), []);
    t.same(
      await judge(workload("orders-1", "10.0.0.2", "orders")),
      [],
      "two instances of one identity",
    );
    t.match(await judge(workload("orders-1", "10.0.0.2", "thief")), [
      /^error spec\.address: .*belongs to Workload shop\/orders-2/,
    ]);
    t.match(await judge(workload("new", "10.0.0.1")), [
      /^error spec\.address: .*belongs to Workload shop\/orders-1/,
    ]);
    t.same(await judge(policy("p", "orders")), []);
    t.match(await judge(policy("p", "cart")), [/^warning spec\.selector: /]);
    t.same(await judge(route("other", "orders", 80, exact)), []);
    const never = /never reached .*: rule 0 of HTTPRoute shop\/all takes/;
    t.match(await judge(route("new", "orders", 80, expression)), [never]);
    const path = "warning spec.rules[0].matches[0].path: ";
    t.equal(
      (await judge(route("new", "orders", 80, expression)))[0]?.indexOf(path),
      0,
    );
    t.match(
      await judge(route("all", "orders", 80)),
      [/^warning spec\.rules\[0\]: rule 0 of HTTPRoute shop\/some is never/],
      "it takes what another one waits for",
    );
    t.same(
      await judge(route("other", "orders", 80)),
      [],
      "an older one takes it already",
    );
    t.match(
      await judge(route("cart", "cart", 80)).then((found) =>
        found.filter((each) => each.includes("never")),
      ),
      [/^warning spec\.rules\[0\]: rule 0 of HTTPRoute shop\/both is never/],
      "an older one takes what is left to another at its second Service",
    );
  },
);
