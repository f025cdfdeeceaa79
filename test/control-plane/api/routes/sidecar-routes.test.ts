/** What a sidecar has in force, over the API. */
import t from "tap";
import type { SidecarStatus } from "../../../../src/control-plane/push/status.ts";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { rig } from "../../../support/api.ts";

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
    certificateExpiresAt: 2,
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
  world.config = { version, latest: false, resources };
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
    storeRevision: body["storeRevision"],
  });
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
  world.config = { version, latest: true, resources: [service("shop")] };
  const shop = await as("viewer", ["shop"]);
  t.equal((await call("GET", URL, undefined, shop)).code, 200);
  const far = await as("viewer", ["far"]);
  t.equal((await call("GET", URL, undefined, far)).code, 403);
  world.config = { version, latest: true, resources: [service("infra")] };
  const { code, body } = await call("GET", URL, undefined, shop);
  t.equal(code, 403);
  t.match(body["message"], /Service infra\/orders is part of/);
});
