/** A process that was replaced, and drains: what the one after it is told is in force in both. */
import t from "tap";
import { keyOf } from "../../src/resources/envelope.ts";
import {
  eventually,
  service,
  serving,
  startTestAgent,
  startWithOrders,
  temporaryDirectory,
} from "../support/control-plane/push-control-plane.ts";

void t.test("a replaced process hears what changes meanwhile", async (t) => {
  const plane = await startWithOrders(t);
  const stateDirectory = await temporaryDirectory(t);
  const options = { controlPlane: plane.address, name: "web-1" };
  const token = await plane.token();
  const older = await startTestAgent(t, { ...options, stateDirectory, token });
  await serving(older);
  await older.letGo?.();
  const newer = await startTestAgent(t, { ...options, stateDirectory });
  await serving(newer);
  const before = older.snapshot.value;
  await plane.store.put(service("payments"), "absent");
  await eventually(
    older.snapshot,
    (snapshot) => snapshot?.destination("payments", 80) !== undefined,
  );
  t.not(older.snapshot.value, before, "by a snapshot of its own (law 1)");
  await plane.store.remove(keyOf(service("payments")));
  await eventually(
    older.snapshot,
    (snapshot) => snapshot?.destination("payments", 80) === undefined,
  );
  await older.close();
  const last = older.snapshot.value;
  await plane.store.put(service("payments"), "absent");
  await eventually(
    newer.snapshot,
    (snapshot) => snapshot?.destination("payments", 80) !== undefined,
  );
  t.equal(older.snapshot.value, last, "and nothing once it has ended");
});
