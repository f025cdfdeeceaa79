/** The holder of a token for one service account enrols under the name of another's instance, and of one that runs (law 13). */
import t from "tap";
import { enrol } from "../../../../src/agent/enrolment/enrol.ts";
import { systemClock } from "../../../../src/core/clock.ts";
import { messageOf } from "../../../../src/core/errors.ts";
import {
  startTestAgent,
  startTestControlPlane,
  until,
  type TestControlPlane,
} from "../../../support/control-plane/push-control-plane.ts";

/** The identity that it got, or why it got none. */
async function tryName(
  plane: TestControlPlane,
  serviceAccount: string,
  name: string,
  bound?: string,
): Promise<string> {
  const token = await plane.token({
    serviceAccount,
    labels: { app: serviceAccount },
    ...(bound === undefined ? {} : { name: bound }),
  });
  return enrol({
    address: plane.address,
    token,
    name,
    clock: systemClock,
    signal: new AbortController().signal,
  }).then(({ id }) => id, messageOf);
}

void t.test(
  "a name that an instance has is nobody else's, whatever token asks for it",
  async (t) => {
    const plane = await startTestControlPlane(t);
    const orders = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token({
        serviceAccount: "orders",
        labels: { app: "orders" },
      }),
      name: "orders-1",
      workload: () => ({ address: "127.0.0.1", ports: { http: 8080 } }),
    });
    await orders.setReady(true);
    await until(() => plane.registry.lease("shop/orders-1")?.held === true);
    t.match(
      await tryName(plane, "evil", "orders-1"),
      /registered by spiffe:\/\/cluster\.local\/ns\/shop\/sa\/orders/,
      "another service account",
    );
    t.match(
      await tryName(plane, "orders", "orders-1"),
      /held by a running sidecar of the same identity/,
      "a second instance of the same",
    );
    t.match(
      await tryName(plane, "evil", "orders-2", "evil-1"),
      /the token is for the instance evil-1 alone/,
      "a token that is bound to a name",
    );
    // It goes without a word, and comes back without its state.
    await orders.close();
    await until(() => plane.registry.lease("shop/orders-1")?.held !== true);
    t.match(
      await tryName(plane, "evil", "orders-1"),
      /registered by/,
      "while its lease runs, the name is its identity's",
    );
    t.equal(
      await tryName(plane, "orders", "orders-1"),
      "spiffe://cluster.local/ns/shop/sa/orders",
      "the instance itself, with a new key",
    );
  },
);
