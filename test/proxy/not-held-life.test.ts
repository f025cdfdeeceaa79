/** What is called and not held, while the control plane is away, late or older, and when callers go away. */
import { connect } from "node:net";
import t from "tap";
import { RESOLVE_WITHIN } from "../../src/agent/interest/questions.ts";
import {
  startApplication,
  startAsking,
  type AskingSidecar,
} from "../support/control-plane/asking-sidecar.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { resource, until } from "../support/meshes/pair.ts";
import { temporaryDirectory } from "../support/control-plane/push-control-plane.ts";

/** Names that were subscribed to, in their order. */
function asked({ plane }: AskingSidecar): string[] {
  return plane.said.flatMap(({ subscribe }) => subscribe);
}

void t.test(
  "without a control plane what was used goes on, and the rest is refused at once",
  async (t) => {
    const mesh = await startAsking(t, { services: ["orders", "stock"] });
    const port = await startApplication(t, "outside");
    await mesh.call("orders.shop");
    await mesh.call(`127.0.0.1:${port}`);
    await mesh.plane.close();
    await until(() => !mesh.agent.state.value.connected);
    t.match(await mesh.call("orders.shop"), { text: "orders /" });
    t.match(await mesh.call(`127.0.0.1:${port}`), { text: "outside /" });
    const refused = await mesh.call("stock.shop");
    t.match(refused, {
      status: 503,
      reason: "NO_CONFIG",
      text: /the control plane is away/,
    });
    t.match(mesh.log.at(-1), {
      reason: "NO_CONFIG",
      destination: "unknown",
      detail: /the control plane is away/,
    });
  },
);

void t.test(
  "a sidecar that starts without its control plane serves what was used",
  async (t) => {
    const stateDirectory = await temporaryDirectory(t);
    const mesh = await startAsking(t, {
      services: ["orders", "stock", "web"],
      agent: { stateDirectory },
    });
    const port = await startApplication(t, "outside");
    await mesh.call("orders.shop");
    await mesh.call("web.shop");
    await mesh.call(`127.0.0.1:${port}`);
    await until(() => asked(mesh).includes("Service/shop/web"));
    await mesh.sidecar.destroy();
    const again = await startAsking(t, {
      services: [],
      agent: { stateDirectory, controlPlane: "127.0.0.1:1" },
      serves: false,
    });
    await until(() => again.agent.state.value.lastError !== undefined);
    t.match(await again.call("orders.shop"), { text: "orders /" });
    t.match(await again.call("web.shop"), { text: "web /" });
    t.match(await again.call(`127.0.0.1:${port}`), { text: "outside /" });
    t.match(await again.call("stock.shop"), { reason: "NO_CONFIG" });
  },
);

void t.test(
  "a control plane that does not answer is waited for, and not twice",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    const mesh = await startAsking(t, {
      services: ["orders"],
      agent: { clock },
    });
    mesh.plane.silent = true;
    const first = mesh.call("orders.shop");
    await until(() => asked(mesh).includes("Host//orders.shop"));
    clock.advance(RESOLVE_WITHIN);
    t.match(await first, {
      status: 503,
      reason: "NO_CONFIG",
      text: /did not resolve Host\/\/orders\.shop within 5 s/,
    });
    t.match(await mesh.call("orders.shop"), { reason: "NO_CONFIG" });
    mesh.plane.silent = false;
    await until(() => mesh.held().includes("orders"));
    t.match(await mesh.call("orders.shop"), { text: "orders /" });
  },
);

void t.test(
  "a config that cannot be used ends the wait, and the next call asks anew",
  async (t) => {
    const bad = resource("Service", "bad", {
      ports: [{ port: 80 }],
      selector: { app: 80 },
    });
    const mesh = await startAsking(t, {
      services: ["orders"],
      resources: [bad],
    });
    const refused = { reason: "NO_CONFIG", text: /refused: .*selector/ };
    t.match(await mesh.call("bad.shop"), refused);
    t.match(await mesh.call("orders.shop"), { text: "orders /" });
    t.match(await mesh.call("bad.shop"), refused);
  },
);

void t.test(
  "a caller that goes away while it waits is missed by nobody",
  async (t) => {
    const mesh = await startAsking(t, { services: ["orders"] });
    mesh.plane.silent = true;
    const socket = connect(mesh.sidecar.ports.outbound ?? 0, "127.0.0.1");
    socket.write("GET /gone HTTP/1.1\r\nhost: orders.shop\r\n\r\n");
    const stays = mesh.call("orders.shop", { path: "/stays" });
    await until(() => asked(mesh).includes("Host//orders.shop"));
    socket.destroy();
    mesh.plane.silent = false;
    t.match(await stays, { text: "orders /stays" });
    await until(() => mesh.log.length === 2);
    t.match(
      mesh.log.find(({ path }) => path === "/gone"),
      { destination: "orders.shop:80" },
    );
  },
);

void t.test(
  "a control plane that resolves nothing sends everything, and is asked nothing",
  async (t) => {
    const mesh = await startAsking(t, {
      services: ["orders", "web"],
      older: true,
    });
    const port = await startApplication(t, "outside");
    t.same(mesh.held().sort(), ["orders", "web"]);
    for (const host of ["orders.shop", "web.shop", `127.0.0.1:${port}`])
      t.match(await mesh.call(host), { status: 200 }, host);
    t.same(asked(mesh), ["self"]);
    mesh.plane.older = false;
    mesh.plane.hangUp();
    await until(
      () =>
        mesh.plane.said.length > 0 &&
        mesh.agent.state.value.connected &&
        mesh.agent.lookups?.everything === false,
    );
    t.match(await mesh.call(`127.0.0.1:${port}`), { status: 200 });
    t.ok(asked(mesh).includes("Host//127.0.0.1"), "a newer one is asked");
    mesh.plane.older = true;
    mesh.plane.hangUp();
    await until(() => mesh.agent.lookups?.everything === true);
    t.match(await mesh.call("nowhere.invalid"), { status: 502 });
    t.notOk(asked(mesh).includes("Host//nowhere.invalid"));
  },
);

void t.test("the stream that follows says what is in use", async (t) => {
  const mesh = await startAsking(t, { services: ["orders", "stock"] });
  await mesh.call("orders.shop");
  await mesh.call("none.shop");
  await until(() => asked(mesh).includes("Service/shop/orders"));
  const pushed = mesh.plane.pushed.length;
  mesh.plane.hangUp();
  await until(() => mesh.plane.said.length === 1);
  const [first] = mesh.plane.said;
  t.same(first?.subscribe.toSorted(), [
    "Host//none.shop",
    "Host//orders.shop",
    "Service/shop/orders",
    "self",
  ]);
  t.same([...(first?.initialVersions.keys() ?? [])].sort(), [
    "Host//none.shop",
    "Host//orders.shop",
    "Mesh//default",
    "Service/shop/orders",
    "Workload/shop/orders-1",
  ]);
  await until(() => mesh.agent.state.value.connected);
  t.match(await mesh.call("stock.shop"), { text: "stock /" });
  t.same(
    mesh.plane.pushed.slice(pushed).filter((name) => !/stock/.test(name)),
    [],
    "what is held is not sent again",
  );
});
