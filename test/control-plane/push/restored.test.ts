/** A store that was put back from a backup goes on under the same id, and its revisions soon reach those that sidecars know. */
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { openSqliteStore } from "../../../src/control-plane/store/sqlite.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { NODE, REVISION_TYPE } from "../../../src/push/names.ts";
import {
  eventually,
  MESH,
  service,
  serving,
  startTestAgent,
  startTestControlPlane,
  until,
} from "../../support/control-plane/push-control-plane.ts";
import { enrolRaw, openRaw } from "../../support/control-plane/raw-sidecar.ts";

const GATHER = { quiet: 10, most: 100 };

function open(file: string): Promise<Store> {
  return openSqliteStore({ file, clock: systemClock });
}

for (const backup of ["stopped", "running"] as const)
  void t.test(
    `a config is kept that a backup of a ${backup} control plane knows nothing of`,
    async (t) => {
      const directory = t.testdir();
      const [file, kept] = [join(directory, "a.sqlite"), join(directory, "b")];
      let store = await open(file);
      await store.put(MESH, "absent");
      if (backup === "running") {
        await store.put(service("payments"), "absent");
        await store.close();
        copyFileSync(file, kept);
        store = await open(file);
      } else {
        await store.close();
        copyFileSync(file, kept);
        store = await open(file);
        await store.put(service("payments"), "absent");
      }
      await store.put(service("orders"), "absent");
      const first = await startTestControlPlane(t, { store, gather: GATHER });
      const agent = await startTestAgent(t, {
        controlPlane: first.address,
        token: await first.token(),
        name: "web-1",
      });
      await serving(agent);
      await eventually(
        agent.snapshot,
        (snapshot) => snapshot?.destination("orders", 80) !== undefined,
      );
      const { authority, port } = first;
      await first.close();
      await store.close();

      rmSync(file);
      copyFileSync(kept, file);
      store = await open(file);
      t.teardown(() => store.close());
      // The same names get the same versions, and are not the same.
      await store.put(
        service("payments", { selector: { app: "x" } }),
        undefined,
      );
      await store.put(
        service("orders", { ports: [{ port: 81, targetPort: 8081 }] }),
        "absent",
      );
      for (let later = 0; later < 8; later += 1)
        await store.put(service(`later-${later}`), "absent");
      const { address, push } = await startTestControlPlane(t, {
        ...{ store, authority, port, gather: GATHER },
      });
      t.equal(address, first.address);
      const { refused } = await eventually(
        agent.state,
        ({ refused }) => refused !== undefined,
      );
      t.match(
        refused?.reason,
        new RegExp(`another store.*backup.*wherry store accept ${store.id}`),
      );
      t.ok(agent.snapshot.value?.destination("orders", 80), "as it was");

      await until(async () => (await push.status())[0]?.refused !== undefined);
      await push.accept(store.id);
      await eventually(agent.state, ({ refused }) => refused === undefined);
      t.ok(agent.snapshot.value?.destination("orders", 81));
    },
  );

void t.test(
  "a sidecar hears of an acceptance that came while its push was on its way",
  async (t) => {
    const plane = await startTestControlPlane(t, { gather: GATHER });
    await plane.store.put(MESH, "absent");
    const metadata = {
      [NODE.store]: "00000000-0000-4000-8000-000000000000",
      [NODE.revision]: "7",
    };
    const credentials = await enrolRaw(plane, "web-1");
    const sidecar = openRaw(t, plane.address, credentials, { metadata });
    let message = await sidecar.next();
    while (message.typeUrl !== REVISION_TYPE) {
      sidecar.send({ nonce: message.nonce });
      message = await sidecar.next();
    }
    await plane.push.accept(plane.store.id);
    const error = { code: 3, message: "another store" };
    sidecar.send({ nonce: message.nonce, error });
    t.equal((await sidecar.push("still odd")).revision.accepted, true);
    await until(
      async () =>
        (await plane.push.status())[0]?.refused?.reason === "still odd",
    );
    t.equal(plane.push.statistics().pushes, 2, "it is said once");
  },
);
