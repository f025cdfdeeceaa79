/** Deleting Workloads that sidecars registered: how many Revocations may come of it, and that a lease that comes meanwhile is heeded. */
import t, { type Test } from "tap";
import { rig, type Answer, type Rig } from "../../support/control-plane/api.ts";

const OWN = "mesh.wherry.dev/v1alpha1";
const URL = "/apis/mesh.wherry.dev/v1alpha1";

function revocation(name: string): object {
  return {
    apiVersion: OWN,
    kind: "Revocation",
    metadata: { name },
    spec: { instance: "shop/x" },
  };
}

/** web-1 of a sidecar, and so many Revocations of that name and a number. */
async function filled(
  t: Test,
  counts: Readonly<Record<string, number>> = {},
): Promise<Rig> {
  const world = await rig(t);
  const { store } = world;
  for (const [name, count] of Object.entries(counts))
    for (let index = 0; index < count; index += 1)
      await store.put(
        {
          apiVersion: OWN,
          kind: "Revocation",
          metadata: { name: `${name}${index}` },
          spec: { instance: "shop/x" },
        },
        undefined,
      );
  await store.put(
    {
      apiVersion: OWN,
      kind: "Workload",
      metadata: {
        name: "web-1",
        namespace: "shop",
        annotations: {
          "mesh.wherry.dev/registered-by":
            "spiffe://cluster.local/ns/shop/sa/web",
        },
      },
      spec: { address: "10.0.0.1", serviceAccount: "web" },
    },
    undefined,
  );
  return world;
}

type Way = (
  world: Rig,
  query?: string,
  headers?: Record<string, string>,
) => Promise<Answer>;

const WAYS: Readonly<Record<string, Way>> = {
  "by name": ({ call }, query = "", headers) =>
    call(
      "DELETE",
      `${URL}/namespaces/shop/workloads/web-1${query}`,
      undefined,
      headers,
    ),
  "in a list": ({ call }, query = "", headers) =>
    call(
      "POST",
      `/delete${query}`,
      {
        items: [
          {
            apiVersion: OWN,
            kind: "Workload",
            metadata: { name: "web-1", namespace: "shop" },
          },
        ],
      },
      headers,
    ),
};

async function facts({ store }: Rig): Promise<object> {
  const { resources } = await store.list("Revocation");
  const key = { kind: "Workload", namespace: "shop", name: "web-1" };
  return {
    revocations: resources.length,
    there: (await store.get(key)) !== undefined,
  };
}

for (const [what, way] of Object.entries(WAYS)) {
  void t.test(`${what}: so many Revocations, and no more`, async (t) => {
    const rows: readonly (readonly [Record<string, number>, boolean])[] = [
      [{ "deleted.shop.a": 899 }, true],
      [{ "deleted.shop.a": 900 }, false],
      [{ admin: 999 }, true],
      [{ admin: 1000 }, false],
      // It is put a second time.
      [{ "deleted.shop.web-": 900 }, true],
    ];
    for (const [counts, goes] of rows) {
      const name = JSON.stringify(counts);
      const world = await filled(t, counts);
      const before = await facts(world);
      for (const query of ["?dryRun=All", ""]) {
        const { code, body } = await way(world, query);
        t.equal(code, goes ? 200 : 409, `${name} ${query}`);
        if (!goes) t.match(body, { message: /--deregister-only.*identity/ });
        if (!goes || query !== "") t.same(await facts(world), before, name);
      }
      t.match(await facts(world), { there: !goes }, name);
      const { code } = await world.call("POST", `${URL}/revocations`, {
        ...revocation("mine"),
      });
      const full = (counts["admin"] ?? 0) > 0;
      t.equal(code, full ? 422 : 201, `${name}: an administrator's`);
    }
  });

  void t.test(`${what}: its sidecar comes meanwhile`, async (t) => {
    const world = await filled(t);
    const editor = await world.as("editor", ["shop"]);
    const before = await facts(world);
    const { mesh } = world.options;
    Object.assign(world.options, {
      mesh: {
        current: () => {
          world.world.leased.add("shop/web-1");
          return mesh.current();
        },
      },
    });
    const { code, body } = await way(world, "", editor);
    t.equal(code, 403);
    t.match(body, { message: /registered by its sidecar under a lease/ });
    t.same(await facts(world), before, "nothing is revoked either");
  });
}

void t.test("only deregistered, it needs none", async (t) => {
  const world = await filled(t, { admin: 1000 });
  const url = `${URL}/namespaces/shop/workloads/web-1?deregisterOnly=true`;
  t.equal((await world.call("DELETE", url)).code, 200);
  t.same(await facts(world), { revocations: 1000, there: false });
});

void t.test("what is there may be changed", async (t) => {
  const world = await filled(t, { admin: 1001 });
  const { code } = await world.call("PUT", `${URL}/revocations/admin7`, {
    ...revocation("admin7"),
    spec: { instance: "shop/y" },
  });
  t.equal(code, 200);
});
