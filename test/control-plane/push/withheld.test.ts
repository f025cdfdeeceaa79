import t from "tap";
import type { FieldSince } from "../../../src/push/fields-since.ts";
import { NODE } from "../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../src/resources/envelope.ts";
import {
  route,
  service,
  serving,
  startTestAgent,
  startWithOrders,
  until,
  type TestControlPlane,
} from "../../support/control-plane/push-control-plane.ts";
import {
  enrolRaw,
  openRaw,
  type RawSidecar,
} from "../../support/control-plane/raw-sidecar.ts";
import { received, withheld } from "../../support/control-plane/pushed.ts";
import { digestOf } from "../../support/control-plane/digest.ts";

/** Fields that there are, as if an older sidecar did not know them. */
const TABLE: readonly FieldSince[] = [
  {
    kind: "AuthorizationPolicy",
    path: "spec.rules[].to[].operation.paths",
    since: 3,
    without: "withheld",
  },
  {
    kind: "HTTPRoute",
    path: "spec.rules[].name",
    since: 3,
    without: "withheld",
  },
  { kind: "Workload", path: "spec.locality", since: 3, without: "withheld" },
  { kind: "Workload", path: "spec.ttl", since: 3, without: "same" },
  { kind: "Service", path: "spec.exportTo", since: 3, without: "withheld" },
];

function deny(spec: Record<string, unknown>): Resource {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name: "orders", namespace: "shop" },
    spec: { selector: { matchLabels: { app: "web" } }, ...spec },
  };
}

const BY_PATH = deny({
  action: "DENY",
  rules: [{ to: [{ operation: { paths: ["/admin"] } }] }],
});
const BY_METHOD = deny({
  action: "DENY",
  rules: [{ to: [{ operation: { methods: ["DELETE"] } }] }],
});

function workload(spec: Record<string, unknown>): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Workload",
    metadata: {
      name: "orders-1",
      namespace: "shop",
      labels: { app: "orders" },
    },
    spec: { address: "10.0.0.9", ports: { http: 8080 }, ...spec },
  };
}

/** Writes it, whatever is there; its version. */
async function write(
  plane: TestControlPlane,
  resource: Resource,
): Promise<string> {
  const { metadata } = await plane.store.put(resource, undefined);
  return metadata.resourceVersion ?? "";
}

let opened = 0;

async function open(
  plane: TestControlPlane,
  schema: string,
  initialVersions: ReadonlyMap<string, string> = new Map(),
  metadata: Record<string, string> = {},
): Promise<RawSidecar> {
  return openRaw(
    t,
    plane.address,
    await enrolRaw(plane, `web-${(opened += 1)}`),
    {
      metadata: { [NODE.schema]: schema, ...metadata },
      initialVersions,
    },
  );
}

void t.test(
  "a sidecar that never had the policy gets one that denies, and is named; one that knows the field gets it whole",
  async (t) => {
    const plane = await startWithOrders(t, { fieldsSince: TABLE });
    await plane.store.put(BY_PATH, "absent");
    await plane.store.put(workload({ ttl: "20s" }), "absent");
    const older = await open(plane, "2");
    const { revision } = await older.push();
    t.equal(
      revision.digest,
      digestOf([
        ["Mesh//default", "1"],
        ["Service/shop/orders", "2"],
        ["AuthorizationPolicy/shop/orders", "3~closed"],
        ["Workload/shop/orders-1", "4~2"],
      ]),
    );
    t.match(received(older.received, "AuthorizationPolicy/shop/orders"), {
      metadata: { resourceVersion: "3~closed" },
      spec: { ...(BY_PATH.spec as object), rules: [{}] },
    });
    t.strictSame(
      received(older.received, "Workload/shop/orders-1")?.spec,
      workload({}).spec,
      "without what means nothing to it",
    );
    t.strictSame(await withheld(plane), {
      "AuthorizationPolicy shop/orders": [
        "spec.rules[].to[].operation.paths",
        "closed",
      ],
    });
    await until(async () => (await plane.push.status())[0]?.pending === false);
    const key = {
      kind: "AuthorizationPolicy",
      namespace: "shop",
      name: "orders",
    };
    t.strictSame(plane.push.inForce(key, "3"), {
      ...{ have: 0, of: 1, refused: 0, withheld: 1 },
    });
    t.match(
      plane.push.inForce({ ...key, kind: "Workload", name: "orders-1" }, "4"),
      { have: 1, of: 1 },
      "what means the same is in force",
    );
  },
);

void t.test(
  "a policy that changes no verdict is nothing to a sidecar that would enforce it, not even in the version before",
  async (t) => {
    const plane = await startWithOrders(t);
    await write(plane, BY_METHOD);
    const older = await open(plane, "2");
    await older.push();
    const name = "AuthorizationPolicy/shop/orders";
    const annotations = { "istio.io/dry-run": "true" };
    for (const [resource, field] of [
      [
        { ...BY_METHOD, metadata: { ...BY_METHOD.metadata, annotations } },
        "metadata.annotations.istio.io/dry-run",
      ],
      [deny({ action: "AUDIT", rules: [{}] }), "spec.action"],
    ] as const) {
      await write(plane, resource);
      const { removed, names } = await older.push();
      t.strictSame(removed, [name], "what it enforced is taken away");
      t.strictSame(names, []);
      t.strictSame(await withheld(plane), {
        "AuthorizationPolicy shop/orders": [field, "nothing"],
      });
      await write(plane, BY_METHOD);
      t.strictSame((await older.push()).names, [name]);
    }
  },
);

const API: Resource = {
  ...service("api"),
  spec: {
    location: "MESH_EXTERNAL",
    hosts: ["api.example.com"],
    ports: [{ port: 80 }],
  },
};

function overTls(name: string, mode: string): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "TrafficPolicy",
    metadata: { name, namespace: "shop" },
    spec: { targetRefs: [{ kind: "Service", name: "api" }], tls: { mode } },
  };
}

void t.test(
  "a sidecar that does not know TLS to the outside calls nobody where a policy asks for it",
  async (t) => {
    const plane = await startWithOrders(t);
    await write(plane, API);
    const older = await open(plane, "2");
    await older.push();
    const name = "Service/shop/api";
    const closed = { spec: { endpoints: [{ address: "255.255.255.255" }] } };
    t.notMatch(received(older.received, name), closed);
    await write(plane, overTls("first", "SIMPLE"));
    await older.push();
    t.match(received(older.received, name), closed, "the policy came");
    t.strictSame(await withheld(plane), {
      "TrafficPolicy shop/first": ["spec.tls", "nothing"],
      "Service shop/api": ["spec.tls of its TrafficPolicy", "closed"],
    });
    await write(plane, overTls("second", "MUTUAL"));
    await write(plane, overTls("first", "DISABLE"));
    await write(plane, {
      ...API,
      spec: { ...(API.spec as object), ports: [{ port: 81 }] },
    });
    await older.push();
    t.match(
      received(older.received, name),
      { spec: { ports: [{ port: 81 }], ...closed.spec } },
      "another policy asks for it, and the Service is another",
    );
    await write(plane, overTls("second", "DISABLE"));
    await older.push();
    t.notMatch(received(older.received, name), closed, "no policy asks for it");
  },
);

const HELD = new Map([
  ["Mesh//default", "1"],
  ["Service/shop/orders", "2"],
  ["AuthorizationPolicy/shop/orders", "3"],
]);

async function saying(
  plane: TestControlPlane,
  held: ReadonlyMap<string, string>,
): Promise<RawSidecar> {
  return open(plane, "2", held, {
    [NODE.store]: plane.store.id,
    [NODE.revision]: String(await plane.store.revision()),
  });
}

void t.test(
  "a policy that changes to what a sidecar does not know stays as it has it, and all else flows",
  async (t) => {
    const plane = await startWithOrders(t, { fieldsSince: TABLE });
    await plane.store.put(BY_METHOD, "absent");
    const sidecar = await open(plane, "2");
    const first = await sidecar.push();
    t.same(await withheld(plane), {});

    await write(plane, BY_PATH);
    const version = await write(plane, workload({}));
    const second = await sidecar.push();
    t.strictSame(second.names, ["Workload/shop/orders-1"]);
    t.strictSame(second.removed, []);
    t.equal(
      second.revision.digest,
      digestOf([...HELD, ["Workload/shop/orders-1", version]]),
    );
    t.not(second.revision.digest, first.revision.digest);
    t.strictSame(await withheld(plane), {
      "AuthorizationPolicy shop/orders": [
        "spec.rules[].to[].operation.paths",
        "older",
      ],
    });

    // It comes back, and says what it has.
    sidecar.close();
    const again = await saying(plane, HELD);
    const third = await again.push();
    t.strictSame(third.names, ["Workload/shop/orders-1"]);
    t.equal(third.revision.digest, second.revision.digest);
    t.match(await withheld(plane), {
      "AuthorizationPolicy shop/orders": [/paths/, "older"],
    });

    await write(plane, BY_METHOD);
    t.strictSame((await again.push()).names, [
      "AuthorizationPolicy/shop/orders",
    ]);
    t.same(await withheld(plane), {});
  },
);

void t.test(
  "what is gone is taken away, also where an older version of it was kept",
  async (t) => {
    const plane = await startWithOrders(t, { fieldsSince: TABLE });
    await plane.store.put(BY_METHOD, "absent");
    const sidecar = await open(plane, "2");
    await sidecar.push();
    await write(plane, BY_PATH);
    await until(
      async () => (await plane.push.status())[0]?.withheld !== undefined,
    );
    await plane.store.remove(keyOf(BY_PATH));
    t.strictSame((await sidecar.push()).removed, [
      "AuthorizationPolicy/shop/orders",
    ]);
    t.same(await withheld(plane), {});
  },
);

void t.test(
  "an endpoint is not kept where it may not be any more; a Service is, and a route that was never there is left out",
  async (t) => {
    const plane = await startWithOrders(t, { fieldsSince: TABLE });
    await plane.store.put(workload({}), "absent");
    const sidecar = await open(plane, "2");
    await sidecar.push();
    await write(plane, workload({ locality: "eu/a" }));
    await write(plane, service("orders", { exportTo: ["*"] }));
    const named = route("named", "orders");
    const [rule] = (named.spec as { rules: object[] }).rules;
    await plane.store.put(
      {
        ...named,
        spec: { ...(named.spec as object), rules: [{ ...rule, name: "a" }] },
      },
      "absent",
    );
    await plane.store.put(route("plain", "orders"), "absent");
    const { names, removed } = await sidecar.push();
    t.strictSame(names, ["HTTPRoute/shop/plain"]);
    t.strictSame(removed, ["Workload/shop/orders-1"]);
    t.strictSame(await withheld(plane), {
      "Workload shop/orders-1": ["spec.locality", "nothing"],
      "Service shop/orders": ["spec.exportTo", "older"],
      "HTTPRoute shop/named": ["spec.rules[].name", "nothing"],
    });
  },
);

void t.test(
  "a sidecar that comes back with a newer version is sent what was withheld",
  async (t) => {
    const plane = await startWithOrders(t);
    await plane.store.put(BY_PATH, "absent");
    for (const version of ["2", "3~closed", "3~2"]) {
      const name = "AuthorizationPolicy/shop/orders";
      const sidecar = await saying(plane, new Map([...HELD, [name, version]]));
      t.strictSame((await sidecar.push()).names, [name], version);
      t.same(await withheld(plane), {});
      sidecar.close();
    }
    const closed = new Map([
      ...HELD,
      ["AuthorizationPolicy/shop/orders", "2~closed"],
    ]);
    const older = await startWithOrders(t, { fieldsSince: TABLE });
    await older.store.put(BY_PATH, "absent");
    const sidecar = await saying(older, closed);
    await sidecar.push();
    t.match(
      received(sidecar.received, "AuthorizationPolicy/shop/orders"),
      { metadata: { resourceVersion: "3~closed" } },
      "what is closed is no version to go on with",
    );
  },
);

void t.test(
  "a sidecar of this version gets every resource whole",
  async (t) => {
    const plane = await startWithOrders(t, { fieldsSince: TABLE });
    await plane.store.put(BY_PATH, "absent");
    await plane.store.put(workload({ locality: "eu/a" }), "absent");
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
    });
    await serving(agent);
    t.equal(
      agent.state.value.version?.digest,
      digestOf([...HELD, ["Workload/shop/orders-1", "4"]]),
    );
    t.equal((await plane.push.status())[0]?.withheld, undefined);
  },
);
