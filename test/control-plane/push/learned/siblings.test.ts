// A new instance of a service account starts with what its siblings used, and serves it also when its control plane is dead.
import { join } from "node:path";
import t from "tap";
import { openSqliteStore } from "../../../../src/control-plane/store/sqlite.ts";
import { systemClock } from "../../../../src/core/clock.ts";
import { keyOf } from "../../../../src/resources/envelope.ts";
import {
  callable,
  startApplication,
  startUsing,
  type UsingSidecar,
} from "../../../support/control-plane/asking-sidecar.ts";
import {
  eventually,
  MESH,
  startTestControlPlane,
  temporaryDirectory,
  until,
  type Scope,
  type TestControlPlane,
} from "../../../support/control-plane/push-control-plane.ts";

/** Resolves when it serves its first push. */
function startInstance(
  t: Scope,
  plane: TestControlPlane,
  name: string,
  account: { readonly serviceAccount?: string } = {},
): Promise<UsingSidecar> {
  const { address } = plane;
  const token = (): Promise<string> => plane.token(account);
  return startUsing(t, { address, token }, { agent: { name } });
}

/** Services "a", "b" and "never" of namespace shop, each with an application. */
async function fill(t: Scope, { store }: TestControlPlane): Promise<void> {
  await store.put(
    {
      ...MESH,
      spec: { ...(MESH.spec as object), mtls: { mode: "PERMISSIVE" } },
    },
    "absent",
  );
  for (const name of ["a", "b", "never"])
    for (const resource of callable(name, await startApplication(t, name)))
      await store.put(resource, "absent");
}

/** Calls the hosts, and waits until the control plane has heard of as many Services in use. */
async function use(
  plane: TestControlPlane,
  { call }: UsingSidecar,
  hosts: readonly string[],
): Promise<void> {
  for (const host of hosts) await call(host);
  await until(async () =>
    (await plane.push.status()).some(
      ({ holds }) => holds?.services === hosts.length,
    ),
  );
}

const GATHER = { quiet: 10, most: 100 };

void t.test(
  "what a sibling used is in the first push, and is served without a control plane",
  async (t) => {
    const plane = await startTestControlPlane(t, { gather: GATHER });
    await fill(t, plane);
    const first = await startInstance(t, plane, "web-1");
    t.same(first.held().sort(), [], "nobody of the account has used anything");
    await use(plane, first, ["a", "b"]);

    const pushes = plane.push.statistics().pushes;
    const second = await startInstance(t, plane, "web-2");
    t.equal(plane.push.statistics().pushes, pushes + 1);
    t.same(second.held().sort(), ["a", "b"]);
    t.match(
      second.agent.lookups?.held().services,
      [
        { service: "shop/a", why: "learned" },
        { service: "shop/b", why: "learned" },
      ],
      "it says why it holds them",
    );
    t.match(
      (await plane.push.status()).find(({ name }) => name === "web-2")?.holds,
      {
        everything: false,
        services: 2,
        questions: 0,
        learned: 2,
      },
    );
    const other = await startInstance(t, plane, "api-1", {
      serviceAccount: "api",
    });
    t.same(other.held().sort(), [], "another account has used nothing");

    await plane.close();
    await eventually(
      second.agent.state,
      ({ connected, lastError }) => !connected && lastError !== undefined,
    );
    t.equal((await second.call("a")).text, "a /");
    t.equal((await second.call("b.shop")).text, "b /");
    const refused = await second.call("never");
    t.match(refused, { status: 503, reason: /^NO_CONFIG/ });
    t.match(refused.text, /control plane is away/);
  },
);

void t.test("a restart of the control plane forgets nothing", async (t) => {
  const file = join(await temporaryDirectory(t), "store.sqlite");
  const store = await openSqliteStore({ file, clock: systemClock });
  const plane = await startTestControlPlane(t, { store, gather: GATHER });
  await fill(t, plane);
  await use(plane, await startInstance(t, plane, "web-1"), ["a", "b"]);
  await plane.close();
  await store.close();

  const reopened = await openSqliteStore({ file, clock: systemClock });
  const { authority } = plane;
  const back = await startTestControlPlane(t, { store: reopened, authority });
  t.after(() => reopened.close());
  t.same((await startInstance(t, back, "web-2")).held().sort(), ["a", "b"]);
});

void t.test(
  "whether the account may see them still is judged when they are given",
  async (t) => {
    const plane = await startTestControlPlane(t, { gather: GATHER });
    await fill(t, plane);
    const [far] = callable("far", 1);
    if (far === undefined) throw new Error("no Service");
    const put = async (exportTo: readonly string[]): Promise<void> => {
      await plane.store.put(
        {
          ...far,
          metadata: { name: "far", namespace: "infra" },
          spec: { ...(far.spec as object), exportTo },
        },
        undefined,
      );
    };
    await put(["*"]);
    const first = await startInstance(t, plane, "web-1");
    await use(plane, first, ["a", "b", "far.infra"]);
    t.same((await startInstance(t, plane, "web-2")).held().sort(), [
      "a",
      "b",
      "far",
    ]);
    await put(["."]);
    await plane.store.remove(
      keyOf({ ...far, metadata: { name: "b", namespace: "shop" } }),
    );
    await until(() => first.held().sort().join() === "a");
    t.same((await startInstance(t, plane, "web-3")).held().sort(), ["a"]);
  },
);
