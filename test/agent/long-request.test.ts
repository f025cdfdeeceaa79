// A sidecar that holds more names than a request may have says them in several.
import t from "tap";
import type { Agent } from "../../src/agent/agent.ts";
import { keyOf } from "../../src/resources/envelope.ts";
import { waitFor } from "../../src/core/watch.ts";
import { deltaRequest } from "../../src/push/codec.ts";
import { LONGEST_REQUEST, NODE, SCHEMA_VERSION } from "../../src/push/names.ts";
import {
  MESH,
  route,
  service,
  startTestAgent,
  startTestControlPlane,
  temporaryDirectory,
} from "../support/control-plane/push-control-plane.ts";
import { REQUEST } from "../support/control-plane/raw-sidecar.ts";

const VERSION = "1.2.3";
const LONG = `${"n".repeat(63)}.`.repeat(3) + "n".repeat(50);

const nameOf = (index: number): string =>
  `${LONG}-${String(index).padStart(5, "0")}`;

/** Routes that fill a request to the last one that fits. */
function most(): number {
  const { length } = deltaRequest.encode({
    ...REQUEST,
    subscribe: ["*"],
    node: {
      id: "shop/web-1",
      metadata: {
        [NODE.schema]: String(SCHEMA_VERSION),
        [NODE.version]: VERSION,
        [NODE.store]: "11111111-1111-4111-8111-111111111111",
        [NODE.revision]: "12345",
        [NODE.digest]: "0".repeat(64),
        [NODE.receivedAt]: "1700000000000",
      },
    },
    initialVersions: new Map([
      ["Mesh//default", "1"],
      ["Service/shop/orders", "2"],
    ]),
  });
  let left = LONGEST_REQUEST - length;
  for (let count = 0; ; count += 1) {
    const version = String(count + 3);
    // The entry, the name and the version, each with its tag and its length, of one byte or two.
    left -= 3 + 3 + `HTTPRoute/shop/${nameOf(count)}`.length;
    left -= 2 + version.length;
    if (left < 0) return count;
  }
}

/** Thousands of resources take their time. */
async function serves({ state }: Agent): Promise<void> {
  const late = AbortSignal.timeout(60_000);
  await waitFor(state, ({ source }) => source === "stream", late);
}

for (const more of [0, 1])
  void t.test(
    `with ${more} more names than a request holds, a sidecar that comes back gets the differences alone`,
    async (t) => {
      const count = most() + more;
      const plane = await startTestControlPlane(t);
      const { store, authority, port } = plane;
      await store.put(MESH, "absent");
      await store.put(service("orders"), "absent");
      await store.transact(
        Array.from({ length: count }, (_, index) => ({
          resource: route(nameOf(index), "not-there"),
          expected: "absent",
        })),
      );
      const stateDirectory = await temporaryDirectory(t);
      const options = {
        controlPlane: plane.address,
        token: await plane.token(),
        name: "web-1",
        stateDirectory,
      };
      // All of it is in the first push.
      await plane.push.mesh.current();
      const first = await startTestAgent(t, options);
      await serves(first);
      t.equal(plane.push.statistics().resources, count + 2);
      await first.close();
      await plane.close();
      await store.put(service("payments"), "absent");
      await store.remove(keyOf(route(nameOf(7), "not-there")));

      const back = await startTestControlPlane(t, { store, authority, port });
      const second = await startTestAgent(t, options);
      await serves(second);
      t.equal(second.state.value.lastError, undefined);
      t.match(back.push.statistics(), { resources: 1, removed: 1 });
      t.ok(second.snapshot.value?.destination("payments", 80));
      t.ok(second.snapshot.value?.destination("orders", 80));
    },
  );
