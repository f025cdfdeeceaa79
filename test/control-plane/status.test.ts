/** Conditions follow from the store and the sidecars at the moment of reading. */
import { systemClock } from "../../src/core/clock.ts";
import { ObservedCalls } from "../../src/control-plane/observed/observed-calls.ts";
import t from "tap";
import { Catalogue } from "../../src/control-plane/push/catalogue/catalogue.ts";
import { GATHER, startFeed } from "../../src/control-plane/push/feed.ts";
import {
  makeStatusReader,
  type StatusSources,
} from "../../src/control-plane/status.ts";
import type { Lease } from "../../src/control-plane/registry/lease.ts";
import type { InForce, Refusing } from "../../src/control-plane/push/status.ts";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import { StoreError, type Store } from "../../src/control-plane/store/store.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { Condition, Resource } from "../../src/resources/envelope.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

const TRAFFIC_POLICY = (name: string, service: string): Resource => ({
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "TrafficPolicy",
  metadata: { name, namespace: "shop" },
  spec: { targetRefs: [{ kind: "Service", name: service }] },
});

const SERVICE = (name: string): Resource => ({
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "Service",
  metadata: { name, namespace: "shop" },
  spec: { ports: [{ port: 80 }], selector: { app: name } },
});

interface World {
  readonly store: Store;
  inForce: InForce;
  refusing: readonly Refusing[];
  /** The namespaces that the reader may read. */
  readable: readonly string[];
  readonly leases: Map<string, Pick<Lease, "unconfirmed">>;
  readonly conditions: (
    name: string,
    kind?: string,
  ) => Promise<Record<string, Condition>>;
  readonly advance: (ms: number) => void;
}

async function world(t: {
  teardown(run: () => Promise<void>): void;
}): Promise<World> {
  const clock = fakeClock();
  const store = openMemoryStore({ clock });
  const mesh = await startFeed({
    store,
    clock,
    logger: silentLogger,
    gather: GATHER,
    onSettled: () => undefined,
  });
  t.teardown(() => mesh.close());
  const made: World = {
    store,
    inForce: { have: 0, of: 0, refused: 0 },
    refusing: [],
    readable: ["shop"],
    leases: new Map(),
    advance: (ms) => clock.advance(ms),
    async conditions(name, kind = "TrafficPolicy") {
      const found = await store.get({ kind, namespace: "shop", name });
      const complete = found && (await (await openStatus(mayRead))(found));
      return Object.fromEntries(
        (complete?.status?.conditions ?? []).map((one) => [one.type, one]),
      );
    },
  };
  const push: StatusSources["push"] = {
    refusing: () => made.refusing,
    inForce: () => made.inForce,
  };
  const mayRead = ({ namespace }: { readonly namespace: string }): boolean =>
    made.readable.includes(namespace);
  const openStatus = makeStatusReader({
    ...{ mesh, push },
    lease: (workload) => made.leases.get(workload),
    observed: new ObservedCalls(systemClock),
  });
  return made;
}

void t.test(
  "Confirmed is there where a lease has run out, and says why the Workload stays",
  async (t) => {
    const { store, leases, conditions } = await world(t);
    await store.put(
      {
        apiVersion: "mesh.wherry.dev/v1alpha1",
        kind: "Workload",
        metadata: { name: "web-1", namespace: "shop" },
        spec: { address: "10.0.0.1" },
      },
      undefined,
    );
    t.equal((await conditions("web-1", "Workload"))["Confirmed"], undefined);
    leases.set("shop/web-1", {
      unconfirmed: {
        since: Date.UTC(2026, 0, 1),
        why: "callers reach it",
        reached: 2,
        unreached: 1,
      },
    });
    t.match((await conditions("web-1", "Workload"))["Confirmed"], {
      status: "False",
      reason: "LeaseRanOut",
      message:
        "no sign of its sidecar since 2026-01-01T00:00:00.000Z; it is kept: callers reach it; callers that reach it: 2, that do not: 1",
    });
  },
);

const refusing = (reason: string, namespace = "shop"): Refusing => ({
  ...{ namespace, name: "web-1", reason },
  has: () => true,
});

void t.test(
  "Programmed counts the sidecars and says why some refuse",
  async (t) => {
    const w = await world(t);
    await w.store.put(SERVICE("orders"), undefined);
    const rows: readonly (readonly [InForce, string, string, RegExp])[] = [
      [{ have: 0, of: 0, refused: 0 }, "Unknown", "NoSidecar", /uses it/],
      [{ have: 1, of: 3, refused: 0 }, "False", "Pending", /1 of 3/],
      [
        { have: 1, of: 3, refused: 2 },
        "False",
        "Refused",
        /1 of 3 sidecars, refused by 2; shop\/web-1: bad/,
      ],
      [{ have: 3, of: 3, refused: 0 }, "True", "Programmed", /3 of 3/],
    ];
    for (const [inForce, status, reason, message] of rows) {
      w.inForce = inForce;
      w.refusing = Array.from({ length: inForce.refused }, () =>
        refusing("bad"),
      );
      const { Programmed } = await w.conditions("orders", "Service");
      t.match(Programmed, { status, reason, message, observedGeneration: 1 });
    }
    w.inForce = { have: 0, of: 9, refused: 9 };
    w.refusing = Array.from({ length: 9 }, (_, index) =>
      refusing(`reason ${index}`),
    );
    const { Programmed } = await w.conditions("orders", "Service");
    t.match(Programmed?.message, /reason 4$/, "a message names but a few");
  },
);

void t.test(
  "Programmed names the sidecars that refused this resource, as far as the reader may see them",
  async (t) => {
    const w = await world(t);
    await w.store.put(SERVICE("orders"), undefined);
    w.inForce = { have: 0, of: 3, refused: 2 };
    w.refusing = [
      ...Array.from({ length: 9 }, () => refusing("secret", "bank")),
      { ...refusing("of another push"), has: () => false },
      { ...refusing("bad"), has: ({ name }) => name === "orders" },
    ];
    const message = async (): Promise<string | undefined> =>
      (await w.conditions("orders", "Service"))["Programmed"]?.message;
    const count = "in force at 0 of 3 sidecars, refused by 2";
    t.equal(await message(), `${count}; shop/web-1: bad`);
    w.readable = [];
    t.equal(await message(), count);
    w.readable = ["bank"];
    t.match(await message(), /; bank\/web-1: secret$/);
  },
);

void t.test("ResolvedRefs follows the Services that come and go", async (t) => {
  const w = await world(t);
  await w.store.put(TRAFFIC_POLICY("p", "orders"), undefined);
  t.match(await w.conditions("p"), {
    Accepted: { status: "True" },
    ResolvedRefs: {
      status: "False",
      reason: "RefNotFound",
      message: /spec.targetRefs\[0\].name: there is no Service shop\/orders/,
    },
  });
  await w.store.put(SERVICE("orders"), undefined);
  t.match(await w.conditions("p"), { ResolvedRefs: { status: "True" } });
  await w.store.remove({ kind: "Service", namespace: "shop", name: "orders" });
  t.match(await w.conditions("p"), { ResolvedRefs: { status: "False" } });
});

void t.test(
  "trap 13: of two policies for one target the younger is Conflicted, until the older goes",
  async (t) => {
    const w = await world(t);
    await w.store.put(SERVICE("orders"), undefined);
    await w.store.put(TRAFFIC_POLICY("z-older", "orders"), undefined);
    w.advance(1000);
    await w.store.put(TRAFFIC_POLICY("a-younger", "orders"), undefined);
    t.match(await w.conditions("z-older"), { Conflicted: { status: "False" } });
    t.match(await w.conditions("a-younger"), {
      Conflicted: {
        status: "True",
        reason: "OlderResourceWins",
        message: /TrafficPolicy shop\/z-older/,
      },
      Accepted: { message: /see Conflicted/ },
    });
    await w.store.remove({
      kind: "TrafficPolicy",
      namespace: "shop",
      name: "z-older",
    });
    t.match(await w.conditions("a-younger"), {
      Conflicted: { status: "False" },
    });
  },
);

void t.test("a mesh that cannot be read now can be read later", async (t) => {
  const clock = fakeClock();
  const store = openMemoryStore({ clock });
  const stored = await store.put(SERVICE("a"), undefined);
  const { mesh } = new Catalogue();
  let broken = true;
  const openStatus = makeStatusReader({
    lease: () => undefined,
    observed: new ObservedCalls(systemClock),
    mesh: {
      current: () =>
        broken
          ? Promise.reject(new StoreError("gone for a moment"))
          : Promise.resolve({ mesh, revision: 1 }),
    },
    push: {
      refusing: () => [],
      inForce: () => ({ have: 0, of: 0, refused: 0 }),
    },
  });
  const mayRead = (): boolean => true;
  await t.rejects(openStatus(mayRead), StoreError);
  broken = false;
  const { status } = await (await openStatus(mayRead))(stored);
  t.equal(status?.conditions.length, 4);
});

void t.test("sidecars are looked through once a list at most", async (t) => {
  const { mesh } = new Catalogue();
  let looked = 0;
  const openStatus = (refused: number): ReturnType<typeof makeStatusReader> =>
    makeStatusReader({
      lease: () => undefined,
      observed: new ObservedCalls(systemClock),
      mesh: {
        current: () => Promise.resolve({ mesh, revision: 1 }),
      },
      push: {
        refusing: () => {
          looked += 1;
          return [];
        },
        inForce: () => ({ have: 0, of: 9, refused }),
      },
    });
  const read = async (refused: number): Promise<void> => {
    const complete = await openStatus(refused)(() => true);
    await Promise.all(
      Array.from({ length: 9 }, (_, index) => complete(SERVICE(`s${index}`))),
    );
  };
  await read(0);
  t.equal(looked, 0, "nobody refuses anything");
  await read(1);
  t.equal(looked, 1);
});

void t.test(
  "Accepted says what a policy or a route cannot do, as long as that is so",
  async (t) => {
    const w = await world(t);
    await w.store.put(SERVICE("orders"), undefined);
    await w.store.put(
      {
        apiVersion: "security.istio.io/v1",
        kind: "AuthorizationPolicy",
        metadata: { name: "p", namespace: "shop" },
        spec: {
          action: "DENY",
          selector: { matchLabels: { app: "payments" } },
          rules: [{}],
        },
      },
      undefined,
    );
    const accepted = async (name: string, kind: string) =>
      (await w.conditions(name, kind))["Accepted"];
    t.match(await accepted("p", "AuthorizationPolicy"), {
      status: "True",
      message: /^valid; spec\.selector: selects nothing that there is now/,
    });
    await w.store.put(SERVICE("payments"), undefined);
    t.match(await accepted("p", "AuthorizationPolicy"), { message: /^valid$/ });
    const route = (name: string, matches?: object): Resource => ({
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "HTTPRoute",
      metadata: { name, namespace: "shop" },
      spec: {
        parentRefs: [
          { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
        ],
        rules: [
          {
            ...(matches === undefined ? {} : { matches: [matches] }),
            backendRefs: [{ name: "orders", port: 80 }],
          },
        ],
      },
    });
    await w.store.put(
      route("r", { path: { type: "RegularExpression", value: "/x" } }),
      undefined,
    );
    t.match(await accepted("r", "HTTPRoute"), { message: /^valid$/ });
    await w.store.put(route("all"), undefined);
    t.match(await accepted("r", "HTTPRoute"), {
      message: /rules\[0\].*never reached .* rule 0 of HTTPRoute shop\/all/,
    });
    t.match(await accepted("all", "HTTPRoute"), { message: /^valid$/ });
  },
);
