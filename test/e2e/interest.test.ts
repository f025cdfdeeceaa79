/** Sidecars that hold what they use, with a whole control plane: calls end as with the whole mesh, and what nobody uses costs nothing. */
import { connect } from "node:net";
import t from "tap";
import { type Resource } from "../../src/resources/envelope.ts";
import {
  callable,
  database,
  startApplication,
  type UsingSidecar,
} from "../support/control-plane/asking-sidecar.ts";
import { resource } from "../support/meshes/pair.ts";
import { until } from "../support/control-plane/push-control-plane.ts";
import { mesh, routeOf, startUsed } from "../support/meshes/used-mesh.ts";

void t.test(
  "the first call to a Service brings it, and that alone",
  async (t) => {
    const { plane, sidecar } = await startUsed(t, ["orders", "stock", "cards"]);
    t.same(sidecar.held(), []);
    t.match(await sidecar.call("orders.shop"), {
      status: 200,
      text: "orders /",
    });
    t.same(sidecar.held(), ["orders"]);
    await until(async () => (await plane.push.status())[0]?.pending === false);
    const { pushes } = plane.push.statistics();
    for (const host of [
      "orders.shop",
      "orders",
      "orders.shop.svc.cluster.local",
    ])
      t.match(await sidecar.call(host), { status: 200, text: "orders /" });
    t.ok(
      plane.push.statistics().pushes - pushes <= 2,
      "one for each name that it was not called by before",
    );
    t.match((await plane.push.status())[0]?.holds, {
      everything: false,
      services: 1,
    });
  },
);

void t.test(
  "a name outside the mesh passes through, or is refused where the mesh is all there is",
  async (t) => {
    const { plane, sidecar, change } = await startUsed(t, ["orders"]);
    const port = await startApplication(t, "outside");
    for (const path of ["/1", "/2"])
      t.match(await sidecar.call(`127.0.0.1:${port}`, { path }), {
        status: 200,
        text: `outside ${path}`,
      });
    t.match((await plane.push.status())[0]?.holds, {
      services: 0,
      questions: 1,
    });
    await change(mesh({ outboundTrafficPolicy: "REGISTRY_ONLY" }));
    await until(
      () =>
        sidecar.agent.snapshot.value?.mesh.outboundTrafficPolicy ===
        "REGISTRY_ONLY",
    );
    for (const host of [`127.0.0.1:${port}`, "nowhere.shop"])
      t.match(await sidecar.call(host), { reason: "UNKNOWN_DESTINATION" });
    t.match(await sidecar.call("orders.shop"), { text: "orders /" });
  },
);

/** The status of a CONNECT to the target. */
function tunnel({ sidecar }: UsingSidecar, target: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(sidecar.ports.outbound ?? 0, "127.0.0.1", () =>
      socket.write(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n`),
    );
    socket.on("error", reject);
    socket.once("data", (data: Buffer) => {
      socket.destroy();
      resolve(Number(data.toString().split(" ")[1]));
    });
  });
}

void t.test(
  "a call to an address goes by the Service that has it",
  async (t) => {
    const port = await startApplication(t, "db");
    const { plane, sidecar, ports } = await startUsed(
      t,
      ["orders"],
      [mesh(), ...database("db", port)],
    );
    t.equal(await tunnel(sidecar, `127.0.0.1:${port}`), 200);
    t.same(sidecar.held(), ["db"]);
    await until(() => sidecar.log.length === 1);
    t.match(sidecar.log, [{ destination: "db.shop:5432" }]);
    t.equal(
      await tunnel(sidecar, `127.0.0.1:${ports.get("orders") ?? 0}`),
      405,
      "a port for HTTP is not reached raw by its number",
    );
    t.same(sidecar.held().sort(), ["db", "orders"]);
    t.match((await plane.push.status())[0]?.holds, { services: 2 });
  },
);

void t.test("an external Service is found by its host", async (t) => {
  const { sidecar } = await startUsed(
    t,
    ["orders"],
    [
      mesh({ outboundTrafficPolicy: "REGISTRY_ONLY" }),
      resource("Service", "dns", {
        location: "MESH_EXTERNAL",
        hosts: ["api.invalid"],
        ports: [{ port: 80, appProtocol: "http" }],
      }),
    ],
  );
  t.match(await sidecar.call("api.invalid"), { status: 502 });
  t.match(sidecar.log, [
    { destination: "dns.shop:80", endpoint: "api.invalid:80" },
  ]);
});

void t.test(
  "mirror and split to Services of other names, and a policy that comes later",
  async (t) => {
    const { plane, sidecar, change } = await startUsed(
      t,
      ["orders", "orders-v2", "shadow", "stock"],
      [
        mesh(),
        routeOf("orders", {
          backendRefs: [{ name: "orders-v2", port: 80 }],
          filters: [
            {
              type: "RequestMirror",
              requestMirror: { backendRef: { name: "shadow", port: 80 } },
            },
          ],
        }),
      ],
    );
    t.match(await sidecar.call("orders.shop"), { text: "orders-v2 /" });
    t.same(sidecar.held().sort(), ["orders", "orders-v2", "shadow"]);
    await until(() => sidecar.log.length === 2);
    t.same(
      sidecar.log
        .map(({ direction, destination, status }) => [
          direction,
          destination,
          status,
        ])
        .sort(),
      [
        ["mirror", "shadow.shop:80", 200],
        ["outbound", "orders.shop:80", 200],
      ],
    );
    await until(async () => (await plane.push.status())[0]?.pending === false);
    const before = plane.push.statistics();
    await change(
      routeOf("stock", { backendRefs: [{ name: "shadow", port: 80 }] }),
    );
    await change(...callable("unused", 1));
    await change(
      routeOf("orders", { backendRefs: [{ name: "stock", port: 80 }] }),
    );
    await until(() => sidecar.held().includes("stock"));
    t.match(await sidecar.call("orders.shop"), { text: "stock /" });
    const after = plane.push.statistics();
    t.equal(
      after.pushes - before.pushes,
      1,
      "of the three changes one is of use",
    );
    t.equal(after.bytes > before.bytes, true);
    t.same(
      sidecar.held().sort(),
      ["orders", "shadow", "stock"],
      "what no route leads to any more is gone",
    );
  },
);

void t.test("a change of what is not used sends nothing", async (t) => {
  const { plane, sidecar, change, remove } = await startUsed(t, [
    "orders",
    "stock",
  ]);
  await sidecar.call("orders.shop");
  await until(async () => (await plane.push.status())[0]?.pending === false);
  const before = plane.push.statistics();
  const policy = resource("TrafficPolicy", "stock", {
    targetRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "stock" }],
    connectionPool: { tcp: { connectTimeout: "7s" } },
  });
  await change(policy, ...callable("stock", 1), ...callable("late", 1));
  await remove(policy);
  await remove(callable("late", 1)[0] as Resource);
  // What comes after it in the same stream shows that nothing came before.
  await change(
    resource("TrafficPolicy", "orders", {
      targetRefs: [
        { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
      ],
      connectionPool: { tcp: { connectTimeout: "3s" } },
    }),
  );
  await until(() => plane.push.statistics().acknowledged > before.acknowledged);
  const after = plane.push.statistics();
  t.same(
    [after.pushes - before.pushes, after.resources - before.resources],
    [1, 1],
  );
});

void t.test(
  "a call fails over to another instance, and to one that comes later",
  async (t) => {
    const { sidecar, ports, change, remove } = await startUsed(t, ["orders"]);
    const instance = (name: string, port: number): Resource =>
      resource(
        "Workload",
        name,
        { address: "127.0.0.1", ports: { http: port } },
        { labels: { app: "orders" } },
      );
    await change(instance("orders-2", 1));
    for (let time = 0; time < 8; time += 1)
      t.match(await sidecar.call("orders.shop"), { status: 200 });
    await change(instance("orders-3", ports.get("orders") ?? 0));
    await remove(instance("orders-1", 0));
    await until(
      () =>
        sidecar.agent.snapshot.value?.destinations[0]?.cluster.endpoints
          .length === 2,
    );
    for (let time = 0; time < 8; time += 1)
      t.match(await sidecar.call("orders.shop"), { status: 200 });
  },
);

void t.test(
  "a Service that comes to be after it was asked for, and one that goes",
  async (t) => {
    const { sidecar, change, remove } = await startUsed(
      t,
      [],
      [mesh({ outboundTrafficPolicy: "REGISTRY_ONLY" })],
    );
    t.match(await sidecar.call("late.shop"), { reason: "UNKNOWN_DESTINATION" });
    const late = callable("late", await startApplication(t, "late"));
    await change(...late);
    await until(() => sidecar.held().includes("late"));
    t.match(await sidecar.call("late.shop"), { status: 200, text: "late /" });
    await remove(late[0] as Resource);
    await until(() => !sidecar.held().includes("late"));
    t.match(await sidecar.call("late.shop"), { reason: "UNKNOWN_DESTINATION" });
    await change(...late);
    await until(() => sidecar.held().includes("late"));
    t.match(await sidecar.call("late.shop"), { status: 200 });
  },
);

void t.test(
  "a Service that is hidden from the caller's namespace is not there, by name and by address",
  async (t) => {
    const port = await startApplication(t, "hidden");
    const inFar = ({ metadata, ...rest }: Resource): Resource => ({
      ...rest,
      metadata: { ...metadata, namespace: "far" },
    });
    const [service, workload] = database("hidden", port).map(inFar);
    const { plane, sidecar, change } = await startUsed(
      t,
      [],
      [
        mesh({ outboundTrafficPolicy: "REGISTRY_ONLY" }),
        {
          ...service,
          spec: { ...(service?.spec as object), exportTo: ["."] },
        } as Resource,
        workload as Resource,
      ],
    );
    for (const target of ["hidden.far:5432", `127.0.0.1:${port}`])
      t.equal(await tunnel(sidecar, target), 502, target);
    t.same(sidecar.held(), []);
    t.match((await plane.push.status())[0]?.holds, { services: 0 });
    await change(service as Resource);
    await until(() => sidecar.held().includes("hidden"));
    t.equal(await tunnel(sidecar, "hidden.far:5432"), 200);
  },
);
