/** What a sidecar asks for on its stream, and what it gets for it: down to the single message, with a control plane that never gathers changes. */
import { status } from "@grpc/grpc-js";
import t from "tap";
import { lookup } from "../../../src/push/codec.ts";
import { MOST_SUBSCRIPTIONS } from "../../../src/push/interest.ts";
import { LOOKUP_TYPE, NODE } from "../../../src/push/names.ts";
import { keyOf, type Resource } from "../../../src/resources/envelope.ts";
import { digestOf } from "../../support/control-plane/digest.ts";
import {
  MESH,
  route,
  service,
  startTestControlPlane,
  until,
  type Scope,
  type TestControlPlane,
  type TestControlPlaneOptions,
} from "../../support/control-plane/push-control-plane.ts";
import {
  enrolRaw,
  openRaw,
  type RawSidecar,
} from "../../support/control-plane/raw-sidecar.ts";

function workload(name: string, address: string): Resource {
  const app = name.replace(/-\d+$/, "");
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Workload",
    metadata: { name, namespace: "shop", labels: { app } },
    spec: { address, ports: { http: 8080 }, serviceAccount: app },
  };
}

/** The store's note of what the account of the sidecars uses. */
const HIDDEN = service("hidden", { exportTo: ["."] }, "infra");
const WORLD: readonly Resource[] = [
  MESH,
  service("web"),
  service("orders"),
  workload("orders-1", "10.0.0.1"),
  service("stock"),
  workload("stock-1", "10.0.0.2"),
  route("to-orders", "orders"),
  HIDDEN,
];

/** Changes go out at once, and several of one moment together. */
const AT_ONCE = { quiet: 10, most: 100 };

async function startPlane(
  t: Scope,
  options: TestControlPlaneOptions = {},
): Promise<TestControlPlane> {
  const plane = await startTestControlPlane(t, { gather: AT_ONCE, ...options });
  for (const resource of WORLD) await plane.store.put(resource, "absent");
  const revision = await plane.store.revision();
  await until(
    async () => (await plane.push.mesh.current()).revision >= revision,
  );
  return plane;
}

async function asking(
  t: Scope,
  plane: TestControlPlane,
  subscribe: readonly string[],
  name = "web-1",
): Promise<RawSidecar> {
  const credentials = await enrolRaw(plane, name);
  return openRaw(t, plane.address, credentials, { subscribe });
}

/** The result of the question, as it came last. */
function resultOf({ received }: RawSidecar, question: string): unknown {
  const found = received
    .flatMap(({ resources }) => resources)
    .findLast(({ name }) => name === question);
  if (found === undefined) return undefined;
  const { typeUrl, version, value } = found;
  return { typeUrl, version, ...lookup.decode(value) };
}

void t.test("what acts on itself, and nothing else", async (t) => {
  const plane = await startPlane(t);
  const sidecar = await asking(t, plane, ["self"]);
  const { names, revision } = await sidecar.push();
  t.same(names.sort(), ["Mesh//default", "Service/shop/web"]);
  t.ok(revision.selective);
  t.equal(
    revision.digest,
    digestOf([
      ["Mesh//default", "1"],
      ["Service/shop/web", "2"],
    ]),
  );
});

void t.test("a Service comes whole, and goes again", async (t) => {
  const plane = await startPlane(t);
  const sidecar = await asking(t, plane, ["self"]);
  const first = await sidecar.push();
  sidecar.send({ subscribe: ["Service/shop/orders"] });
  const second = await sidecar.push();
  t.same(second.names.sort(), [
    "HTTPRoute/shop/to-orders",
    "Service/shop/orders",
    "Workload/shop/orders-1",
  ]);
  t.same(second.removed, []);
  await until(() => plane.push.statistics().acknowledged === 2);
  t.match((await plane.push.status())[0]?.holds, {
    everything: false,
    services: 1,
    questions: 0,
  });
  sidecar.send({ unsubscribe: ["Service/shop/orders"] });
  const third = await sidecar.push();
  t.same(third.names, []);
  t.same(third.removed.sort(), second.names);
  t.equal(third.revision.digest, first.revision.digest);
});

void t.test(
  "hosts and addresses are resolved, and again when that changes",
  async (t) => {
    const plane = await startPlane(t);
    const questions = [
      "Host//orders",
      "Host//stock.shop.svc.cluster.local",
      "Host//hidden.infra",
      "Host//late.shop",
      "Address//10.0.0.1:8080",
      "Address//10.0.0.9:8080",
    ];
    const sidecar = await asking(t, plane, questions);
    const { names, revision } = await sidecar.push();
    const results = questions.map((each) => resultOf(sidecar, each));
    t.same(
      results,
      [["shop/orders"], ["shop/stock"], [], [], ["shop/orders"], []].map(
        (services) => ({
          typeUrl: LOOKUP_TYPE,
          version: services[0] ?? "none",
          services,
        }),
      ),
    );
    const versions = sidecar.received
      .flatMap(({ resources }) => resources)
      .filter(({ name }) => name !== "revision")
      .map(({ name, version }) => [name, version] as const);
    t.equal(revision.digest, digestOf(versions));
    t.notOk(names.includes("Service/infra/hidden"));
    await plane.store.put(service("late"), "absent");
    const second = await sidecar.push();
    t.same(second.names.sort(), ["Host//late.shop", "Service/shop/late"]);
    t.match(resultOf(sidecar, "Host//late.shop"), { services: ["shop/late"] });
    await plane.store.remove(keyOf(service("late")));
    const third = await sidecar.push();
    t.same(third.names, ["Host//late.shop"], "a name that leads nowhere stays");
    t.same(third.removed, ["Service/shop/late"]);
    t.match(resultOf(sidecar, "Host//late.shop"), { services: [] });
  },
);

void t.test(
  "what is not there, or not visible, is said to be gone: once, and each time it is asked for",
  async (t) => {
    const plane = await startPlane(t);
    const sidecar = await asking(t, plane, [
      "self",
      "Service/shop/late",
      "Service/infra/hidden",
    ]);
    const first = await sidecar.push();
    t.same(first.removed.sort(), ["Service/infra/hidden", "Service/shop/late"]);
    sidecar.send({ subscribe: ["Service/infra/hidden"] });
    const second = await sidecar.push();
    t.same([second.names, second.removed], [[], ["Service/infra/hidden"]]);
    await plane.store.put(service("late"), "absent");
    const third = await sidecar.push();
    t.same([third.names, third.removed], [["Service/shop/late"], []]);
    await plane.store.put(
      service("hidden", { exportTo: ["*"] }, "infra"),
      undefined,
    );
    const fourth = await sidecar.push();
    t.same([fourth.names, fourth.removed], [["Service/infra/hidden"], []]);
  },
);

void t.test("what nobody uses costs nobody a byte", async (t) => {
  const plane = await startPlane(t);
  const sidecar = await asking(t, plane, ["self", "Service/shop/orders"]);
  await sidecar.push();
  await until(() => plane.push.statistics().acknowledged === 1);
  const before = plane.push.statistics();
  sidecar.send({ subscribe: ["Service/shop/orders"] });
  await plane.store.put(route("to-stock", "stock"), "absent");
  await plane.store.put(workload("stock-2", "10.0.0.7"), "absent");
  await plane.store.put(route("more-to-orders", "orders"), "absent");
  const { names } = await sidecar.push();
  t.same(names, ["HTTPRoute/shop/more-to-orders"]);
  t.equal(plane.push.statistics().pushes - before.pushes, 1);
});

void t.test(
  "one that comes back gets the differences alone, results among them",
  async (t) => {
    const plane = await startPlane(t);
    const names = [
      "self",
      "Service/shop/orders",
      "Host//orders",
      "Host//nowhere",
    ];
    const credentials = await enrolRaw(plane, "web-1");
    const before = openRaw(t, plane.address, credentials, { subscribe: names });
    const { revision } = await before.push();
    const held = new Map(
      before.received
        .flatMap(({ resources }) => resources)
        .filter(({ name }) => name !== "revision")
        .map(({ name, version }) => [name, version]),
    );
    const back = (initialVersions: ReadonlyMap<string, string>): RawSidecar =>
      openRaw(t, plane.address, credentials, {
        subscribe: names,
        initialVersions,
        metadata: {
          [NODE.store]: plane.store.id,
          [NODE.revision]: String(revision.revision),
        },
      });
    t.match(await back(held).push(), { names: [], removed: [], messages: 1 });
    const other = new Map([
      ...[...held].filter(([name]) => name !== "Host//orders"),
      ["Host//nowhere", "shop/was"],
      ["Host//unused", "none"],
    ]);
    const { names: sent, removed } = await back(other).push();
    t.same(sent.sort(), ["Host//nowhere", "Host//orders"]);
    t.same(removed, ["Host//unused"]);
  },
);

void t.test(
  "a subscription while a push waits for its response goes out after it",
  async (t) => {
    const plane = await startPlane(t);
    const sidecar = await asking(t, plane, ["self"]);
    sidecar.send({ subscribe: ["Host//orders"] });
    sidecar.send({ subscribe: ["Service/shop/none"] });
    t.same((await sidecar.push()).names.sort(), [
      "Mesh//default",
      "Service/shop/web",
    ]);
    const { names, removed } = await sidecar.push();
    t.ok(names.includes("Host//orders"));
    t.same(removed, ["Service/shop/none"]);
  },
);

void t.test(
  "a name that is none ends the stream with what is expected",
  async (t) => {
    const plane = await startPlane(t);
    for (const name of [
      "Service//orders",
      "Host//A.b",
      "Workload/shop/orders-1",
      "Address//10.0.0.1",
      "",
    ]) {
      const sidecar = await asking(t, plane, ["self"]);
      await sidecar.push();
      sidecar.send({ subscribe: [name] });
      const { code, details } = await sidecar.ended();
      t.equal(code, status.INVALID_ARGUMENT);
      t.ok(
        details.startsWith(
          `invalid subscription ${JSON.stringify(name)}: expected`,
        ),
        details,
      );
    }
    const first = await asking(t, plane, ["self", "other"]);
    t.equal((await first.ended()).code, status.INVALID_ARGUMENT);
  },
);

void t.test(
  "subscriptions have a bound, which what is given back does not count for",
  async (t) => {
    const plane = await startPlane(t);
    const hosts = (from: number, count: number): string[] =>
      Array.from(
        { length: count },
        (_, index) => `Host//h${from + index}.example`,
      );
    const sidecar = await asking(t, plane, hosts(0, MOST_SUBSCRIPTIONS));
    t.equal((await sidecar.push()).names.length, MOST_SUBSCRIPTIONS + 1);
    sidecar.send({
      unsubscribe: hosts(0, 1),
      subscribe: hosts(MOST_SUBSCRIPTIONS, 1),
    });
    t.match(await sidecar.push(), {
      names: hosts(MOST_SUBSCRIPTIONS, 1),
      removed: hosts(0, 1),
    });
    sidecar.send({ subscribe: hosts(0, 1) });
    const { code, details } = await sidecar.ended();
    t.equal(code, status.RESOURCE_EXHAUSTED);
    t.match(details, /over 8192 subscriptions of one sidecar/);
  },
);

void t.test(
  "who has taken everything back holds nothing, and who never asked for a thing holds all",
  async (t) => {
    const plane = await startPlane(t);
    const sidecar = await asking(t, plane, ["Service/shop/orders"]);
    await sidecar.push();
    sidecar.send({ unsubscribe: ["Service/shop/orders"] });
    const { names, revision } = await sidecar.push();
    t.same(names, []);
    t.equal(revision.digest, digestOf([["Mesh//default", "1"]]));
    const older = await asking(t, plane, [], "web-2");
    const all = await older.push();
    t.equal(all.names.length, WORLD.length - 1);
    await until(
      async () => (await plane.push.status())[1]?.holds?.everything === true,
    );
  },
);

void t.test("everything, with results besides", async (t) => {
  const plane = await startPlane(t);
  const sidecar = await asking(t, plane, ["*"]);
  const all = await sidecar.push();
  t.equal(all.names.length, WORLD.length - 1);
  sidecar.send({ subscribe: ["Host//orders", "Service/shop/stock"] });
  t.match(await sidecar.push(), { names: ["Host//orders"], removed: [] });
  sidecar.send({ unsubscribe: ["Host//orders"] });
  const { names, removed, revision } = await sidecar.push();
  t.same([names, removed], [[], ["Host//orders"]]);
  t.equal(revision.digest, all.revision.digest);
});
