/** Reports over the push port: whose they are comes from the connection, and they count of what this sidecar has as an endpoint. */
import t from "tap";
import { call, openClient } from "../../../src/agent/connection.ts";
import { systemClock } from "../../../src/core/clock.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import type { ReportRequest } from "../../../src/push/messages.ts";
import { REGISTRATION } from "../../../src/push/services.ts";
import { PEER } from "../../support/control-plane/registry.ts";
import {
  MESH,
  service,
  startTestControlPlane,
  until,
  type Scope,
  type TestControlPlane,
} from "../../support/control-plane/push-control-plane.ts";
import { enrolRaw, openRaw } from "../../support/control-plane/raw-sidecar.ts";

const LOST = "shop/orders-1";

/** A control plane that hears nothing of one of two endpoints of "orders". */
async function startWithLost(t: Scope): Promise<TestControlPlane> {
  const plane = await startTestControlPlane(t, {
    gather: { quiet: 10, most: 100 },
    grace: 0,
  });
  for (const resource of [MESH, service("orders"), service("other")])
    await plane.store.put(resource, "absent");
  const peer = { ...PEER, name: "orders-1", labels: { app: "orders" } };
  const spec = { address: peer.source, ports: { http: 8080 }, ttl: "1s" };
  await plane.registry.register(peer, spec);
  await until(() => plane.registry.lease(LOST)?.confirmed === false);
  return plane;
}

function report(
  { address }: TestControlPlane,
  credentials: Credentials,
  seen: Partial<ReportRequest>,
): Promise<unknown> {
  const client = openClient({
    ...{ address, credentials },
    trustBundle: credentials.trustBundle,
    clock: systemClock,
    maxMessageBytes: -1,
  });
  return call(
    client,
    REGISTRATION.Report,
    { reached: [], unreached: [], ...seen },
    {
      clock: systemClock,
      timeout: 5000,
      signal: new AbortController().signal,
    },
  ).finally(() => client.close());
}

void t.test("a report counts of what its caller has", async (t) => {
  const plane = await startWithLost(t);
  const counts = (): unknown => {
    const { reached, unreached } =
      plane.registry.lease(LOST)?.unconfirmed ?? {};
    return { reached, unreached };
  };
  const credentials = await enrolRaw(plane, "web-1");
  await report(plane, credentials, { unreached: [LOST] });
  t.same(counts(), { reached: 0, unreached: 0 }, "it has no stream");

  const other = await enrolRaw(plane, "web-2");
  const subscribe = ["self", "Service/shop/other"];
  await openRaw(t, plane.address, other, { subscribe }).push();
  await report(plane, other, { unreached: [LOST] });
  t.same(counts(), { reached: 0, unreached: 0 }, "it has another Service");

  const uses = ["self", "Service/shop/orders"];
  await openRaw(t, plane.address, credentials, { subscribe: uses }).push();
  await report(plane, credentials, { unreached: [LOST, "shop/nobody", "x"] });
  await report(plane, credentials, { unreached: [LOST] });
  t.same(counts(), { reached: 0, unreached: 1 });
  await report(plane, credentials, { reached: [LOST], unreached: [LOST] });
  t.same(counts(), { reached: 1, unreached: 0 }, "in doubt it is reached");
});
