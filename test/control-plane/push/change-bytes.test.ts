// What a Workload that comes, changes or goes costs each sidecar that calls it, in bytes of TLS on the wire.
import t from "tap";
import type { Agent } from "../../../src/agent/agent.ts";
import { RESOURCE_TYPE, REVISION_TYPE } from "../../../src/push/names.ts";
import {
  MESH,
  service,
  serving,
  startTestAgent,
  startTestControlPlane,
  until,
  type Scope,
  type TestControlPlane,
} from "../../support/control-plane/push-control-plane.ts";
import { enrolRaw, openRaw } from "../../support/control-plane/raw-sidecar.ts";
import {
  startTlsRelay,
  type TlsRelay,
} from "../../support/control-plane/tls-relay.ts";

/** Of one change, to each sidecar. */
const MOST = 250;
/** Of its acknowledgement. */
const MOST_BACK = 80;
/** The same change to a sidecar of schema 2, at least. */
const LEAST_OLDER = 750;
/** As a scheduler names it. */
const INSTANCE = "orders-7d9f8b6c5d-x2x4z";

interface Subscriber {
  readonly agent: Agent;
  readonly relay: TlsRelay;
}

/** A mesh whose instance of "orders" is there and has not said that it is ready. */
async function startMesh(
  t: Scope,
): Promise<{ plane: TestControlPlane; orders: Agent }> {
  const plane = await startTestControlPlane(t, {
    gather: { quiet: 10, most: 100 },
  });
  for (const resource of [MESH, service("orders"), service("other")])
    await plane.store.put(resource, "absent");
  const orders = await startTestAgent(t, {
    controlPlane: plane.address,
    token: await plane.token({
      serviceAccount: "orders",
      labels: { app: "orders", version: "v2" },
    }),
    name: INSTANCE,
    workload: () => ({
      address: "10.0.0.17",
      ports: { http: 8080 },
      link: { port: 15_008 },
      locality: "eu-west-1/eu-west-1a",
    }),
  });
  await serving(orders);
  return { plane, orders };
}

async function subscribe(
  t: Scope,
  plane: TestControlPlane,
  index: number,
): Promise<Subscriber> {
  const relay = await startTlsRelay(t, plane.address);
  const agent = await startTestAgent(t, {
    controlPlane: relay.address,
    token: await plane.token(),
    name: `web-${index}`,
    interest: { services: ["shop/orders"], hosts: [] },
  });
  await serving(agent);
  return { agent, relay };
}

/** Resolves once all callers have acknowledged all that was pushed, and that revision or a later one. */
function acknowledged(plane: TestControlPlane, revision = 0): Promise<void> {
  return until(async () =>
    (await plane.push.status())
      .filter(({ serviceAccount }) => serviceAccount === "web")
      .every(
        ({ acknowledged, pending }) =>
          !pending && (acknowledged?.revision ?? 0) >= revision,
      ),
  );
}

/** Whether each endpoint of "orders" is ready, as the sidecar has it. */
function endpointsOf({ agent }: Subscriber): readonly boolean[] {
  const { cluster } =
    agent.snapshot.value?.destination("orders.shop", 80) ?? {};
  return (cluster?.endpoints ?? []).map(({ ready }) => ready);
}

function sum(bytes: readonly number[]): number {
  return bytes.reduce((total, each) => total + each, 0);
}

for (const count of [1, 10])
  void t.test(
    `an instance that comes, is not ready and goes costs each of ${count} callers ${MOST} bytes at most`,
    async (t) => {
      const { plane, orders } = await startMesh(t);
      const callers = await Promise.all(
        Array.from({ length: count }, (_, index) => subscribe(t, plane, index)),
      );
      const changes: readonly [
        name: string,
        act: () => Promise<void>,
        ready: readonly boolean[],
      ][] = [
        ["comes", () => orders.setReady(true), [true]],
        ["is not ready", () => orders.setReady(false), [false]],
        ["is ready again", () => orders.setReady(true), [true]],
        ["goes", () => orders.deregister(), []],
      ];
      for (const [name, act, ready] of changes) {
        await acknowledged(plane);
        for (const { relay } of callers) relay.take();
        const before = plane.push.statistics();
        await act();
        await until(() =>
          callers.every(
            (caller) => String(endpointsOf(caller)) === String(ready),
          ),
        );
        await acknowledged(plane, await plane.store.revision());
        const after = plane.push.statistics();
        for (const caller of callers) {
          const { down, up } = caller.relay.take();
          const cost = `${name}: ${down.join("+")} and ${up.join("+")} back`;
          t.ok(down.length > 0 && sum(down) <= MOST, cost);
          t.ok(sum(up) <= MOST_BACK, cost);
        }
        t.ok(after.encoded - before.encoded <= 1, "encoded once for all");
      }
    },
  );

void t.test(
  "a sidecar of schema 2 gets the resource and the Revision as it always has",
  async (t) => {
    const { plane, orders } = await startMesh(t);
    const newer = await subscribe(t, plane, 1);
    const relay = await startTlsRelay(t, plane.address);
    const older = openRaw(t, relay.address, await enrolRaw(plane, "web-2"), {
      metadata: { "wherry.schema": "2" },
      subscribe: ["self", "Service/shop/orders"],
    });
    await older.push();
    await acknowledged(plane);
    relay.take();
    const { length } = older.received;
    await orders.setReady(true);
    const { revision, names } = await older.push();
    await acknowledged(plane, revision.revision);
    t.strictSame(names, [`Workload/shop/${INSTANCE}`]);
    t.match(older.received.slice(length), [
      {
        systemVersion: String(revision.revision),
        typeUrl: RESOURCE_TYPE,
        nonce: /^\d+$/,
        resources: [{ typeUrl: RESOURCE_TYPE }],
        removed: [],
      },
      {
        systemVersion: String(revision.revision),
        typeUrl: REVISION_TYPE,
        resources: [{ name: "revision", typeUrl: REVISION_TYPE }],
        removed: [],
      },
    ]);
    const bytes = sum(relay.take().down);
    t.ok(bytes >= LEAST_OLDER, `${bytes} bytes`);
    t.match(revision, {
      store: plane.store.id,
      digest: newer.agent.state.value.version?.digest,
    });
  },
);
