/** What a sidecar has in force, over the API. */
import t from "tap";
import type { SidecarStatus } from "../../../../src/control-plane/push/status.ts";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { rig } from "../../../support/control-plane/api.ts";

const URL = "/sidecars/shop/web-1/config";

function sidecar(over: Partial<SidecarStatus> = {}): SidecarStatus {
  return {
    name: "web-1",
    namespace: "shop",
    serviceAccount: "web",
    labels: { app: "web" },
    identity: "spiffe://cluster.local/ns/shop/sa/web",
    connected: true,
    connectedSince: 1,
    peer: "127.0.0.1:1",
    pending: false,
    certificateSerial: "A1",
    certificateExpiresAt: 2,
    trust: { root: "", issuedAt: 0 },
    agent: { version: "0.1.0", schema: 1 },
    ...over,
  };
}

function service(namespace: string): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name: "orders", namespace },
    spec: { ports: [{ port: 80 }], selector: { app: "orders" } },
  };
}

const version = { store: "a", revision: 7, digest: "d" };

void t.test("the resources of the acknowledged revision", async (t) => {
  const { call, world } = await rig(t);
  world.sidecars = [sidecar()];
  const resources = [service("shop"), service("infra")];
  world.config = { version, latest: false, resources, added: 0 };
  const { code, body } = await call("GET", URL);
  t.equal(code, 200);
  t.strictSame(body, {
    sidecar: {
      name: "web-1",
      namespace: "shop",
      serviceAccount: "web",
      labels: { app: "web" },
      identity: "spiffe://cluster.local/ns/shop/sa/web",
    },
    version,
    latest: false,
    resources,
    added: 0,
    storeRevision: body["storeRevision"],
  });
});

void t.test("many resources, and one among them that is hidden", async (t) => {
  const { call, as, world } = await rig(t);
  world.sidecars = [
    sidecar({ name: "web-2" }),
    sidecar({ connected: false }),
    sidecar(),
  ];
  const resources = Array.from({ length: 600 }, () => service("shop"));
  world.config = { version, latest: true, resources, added: 0 };
  const { code, text, body } = await call("GET", URL);
  t.equal(code, 200);
  t.same(body["resources"], resources);
  t.equal(text, JSON.stringify(body));
  const viewer = await as("viewer", ["shop"]);
  t.equal((await call("GET", URL, undefined, viewer)).code, 200);
  world.config = {
    ...world.config,
    resources: resources.with(-1, service("infra")),
  };
  t.equal((await call("GET", URL, undefined, viewer)).code, 403);
});

void t.test("a sidecar that is not there, or has nothing yet", async (t) => {
  const { call, world } = await rig(t);
  t.equal((await call("GET", URL)).code, 404);
  world.sidecars = [sidecar({ connected: false, disconnectedAt: 3 })];
  t.equal((await call("GET", URL)).code, 404, "it is gone");
  world.sidecars = [
    sidecar({ refused: { version, reason: "it is odd", at: 1 } }),
  ];
  const { code, body } = await call("GET", URL);
  t.equal(code, 409);
  t.match(body["message"], /not acknowledged.*refused the last one: it is odd/);
});

void t.test("nobody sees what is not for their token", async (t) => {
  const { call, world, as } = await rig(t);
  world.sidecars = [sidecar()];
  world.config = {
    version,
    latest: true,
    resources: [service("shop")],
    added: 0,
  };
  const shop = await as("viewer", ["shop"]);
  t.equal((await call("GET", URL, undefined, shop)).code, 200);
  const far = await as("viewer", ["far"]);
  t.equal((await call("GET", URL, undefined, far)).code, 403);
  world.config = {
    version,
    latest: true,
    resources: [service("infra")],
    added: 0,
  };
  const { code, body } = await call("GET", URL, undefined, shop);
  t.equal(code, 403);
  t.match(body["message"], /Service infra\/orders is part of/);
});

void t.test("what it would get for a host or an address", async (t) => {
  const { call, world } = await rig(t);
  world.sidecars = [sidecar()];
  world.config = { version, latest: true, resources: [], added: 3 };
  const ask = (names: string): ReturnType<typeof call> =>
    call("GET", `${URL}?ask=${encodeURIComponent(names)}`);
  t.match(await ask("Host//orders.shop,Address//10.0.0.1:80"), {
    code: 200,
    body: { added: 3 },
  });
  t.same(world.asked, ["Host//orders.shop", "Address//10.0.0.1:80"]);
  t.equal((await ask("")).code, 200);
  t.same(world.asked, []);
  for (const [names, said] of [
    ["Service/shop/orders", /ask: invalid name "Service\/shop\/orders"/],
    ["Host//A.shop", /expected Host\/\/HOST or Address/],
    ["Host//a,", /invalid name ""/],
    [Array.from({ length: 9 }, (_, n) => `Host//h${n}`).join(), /at most 8/],
  ] as const) {
    const { code, body } = await ask(names);
    t.equal(code, 400, names);
    t.match(body["message"], said);
  }
  t.equal((await ask("h".repeat(10_000))).code, 400);
});
