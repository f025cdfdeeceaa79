import t from "tap";
import {
  eventually,
  MESH,
  route,
  service,
  startTestAgent,
  startTestControlPlane,
} from "../control-plane/push/control-plane.ts";

void t.test(
  "an agent enrols with its token, takes its config and serves it",
  async (t) => {
    const plane = await startTestControlPlane(t);
    await plane.store.put(MESH, "absent");
    await plane.store.put(service("orders"), "absent");
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
    });
    const state = await eventually(
      agent.state,
      ({ source }) => source === "stream",
    );
    t.match(state, { connected: true, version: { store: plane.store.id } });
    t.equal(
      agent.credentials.value?.id,
      "spiffe://cluster.local/ns/shop/sa/web",
    );
    t.match(agent.snapshot.value?.self, {
      name: "web-1",
      namespace: "shop",
      labels: { app: "web" },
    });
    t.ok(agent.snapshot.value?.destination("orders", 80));
    await plane.store.put(route("r1", "orders"), "absent");
    await eventually(
      agent.snapshot,
      (snapshot) => (snapshot?.version.revision ?? 0) >= 4,
    );
  },
);
