/** After an upgrade, what the store holds and this version refuses is told at the start. */
import t from "tap";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import { tellOfStoredFaults } from "../../src/control-plane/stored-faults.ts";
import { fakeClock } from "../support/fake-clock.ts";
import { keptLog } from "../support/laws/harness.ts";
import { authorizationPolicy, service } from "../support/policy-fixtures.ts";

void t.test(
  "each refused resource, twenty at most, and no other",
  async (t) => {
    const store = openMemoryStore({ clock: fakeClock() });
    const { logger, lines } = keptLog();
    await store.put(service("shop/orders"), undefined);
    await tellOfStoredFaults(store, logger);
    t.same(lines, []);
    await store.put(
      service("bank/partner", { location: "MESH_EXTERNAL", hosts: ["orders"] }),
      undefined,
    );
    await tellOfStoredFaults(store, logger);
    t.match(lines, [
      {
        resource: "Service bank/partner",
        field: "spec.hosts[0]",
        reason: /single label/,
      },
    ]);
    for (let index = 0; index < 25; index += 1)
      await store.put(
        authorizationPolicy(`istio-system/p${index}`, {}),
        undefined,
      );
    const many = keptLog();
    await tellOfStoredFaults(store, many.logger);
    t.equal(many.lines.length, 21);
    t.match(many.lines.at(-1), { more: 6 });
  },
);
