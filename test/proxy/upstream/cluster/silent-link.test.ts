/** A link that is found dead takes its endpoint out, in every cluster that has it, and a second one does not. */
import t from "tap";
import { systemClock } from "../../../../src/core/clock.ts";
import { silentLogger } from "../../../../src/core/log.ts";
import { watchSource } from "../../../../src/core/watch.ts";
import { compileSnapshot } from "../../../../src/policy/compile/compile.ts";
import type { Snapshot } from "../../../../src/policy/snapshot.ts";
import type { ClusterState } from "../../../../src/proxy/upstream/cluster/cluster-state.ts";
import { makeClusters } from "../../../../src/proxy/upstream/cluster/clusters.ts";
import { LOOK } from "../../../../src/proxy/upstream/pool/link-watch.ts";
import { makePools } from "../../../../src/proxy/upstream/pool/pools.ts";
import { makeMeters } from "../../../../src/telemetry/meters.ts";
import { makeMetrics } from "../../../../src/telemetry/metrics.ts";
import { fakeAuthority } from "../../../support/certificates/certificate-authority.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import { Recorder, requestHead } from "../../../support/http2/ends.ts";
import { testLink } from "../../../support/peers/link.ts";
import {
  mesh,
  self,
  service,
  VERSION,
  workload,
} from "../../../support/resources/policy-fixtures.ts";

const authority = fakeAuthority();

/** Two instances of two Services, whose sidecars are at these ports. */
function meshOf(ports: readonly number[]): Snapshot {
  const names = ["shop/orders", "shop/carts"];
  return compileSnapshot(
    [
      mesh(),
      ...names.map((name) => service(name, { selector: { app: "orders" } })),
      ...ports.map((port, index) =>
        workload(`shop/orders-${index + 1}`, "orders", {
          address: "127.0.0.1",
          link: { port },
        }),
      ),
    ],
    self({ identity: authority.id("web") }),
    VERSION,
  );
}

void t.test("an endpoint whose link is dead is ejected", async (t) => {
  const links = await Promise.all(
    [1, 2].map(() =>
      // Its handshake is done by the kernel and OpenSSL; after that it says nothing.
      testLink(authority.credentials("orders"), {
        onConnection: (socket) => socket.pause(),
      }),
    ),
  );
  // Certificates are judged by it, too.
  const clock = fakeClock({ wall: systemClock.wall() });
  const registry = makeMetrics({ maxSeries: 1000 });
  const pools = makePools({
    clock,
    credentials: watchSource(authority.credentials("web")),
    ownPorts: new Set(),
    linkProtocol: "h2",
  });
  const clusters = makeClusters({
    clock,
    pools,
    meters: makeMeters(registry),
    logger: silentLogger,
  });
  t.teardown(() => {
    clusters.close();
    pools.destroy();
    for (const link of links) link.close();
  });
  const snapshot = meshOf(links.map(({ port }) => port));
  const states = snapshot.clusters.map((cluster) => clusters.of(cluster));
  const call = (state: ClusterState, index: number): Promise<Recorder> =>
    new Promise((resolve, reject) => {
      const endpoint = state.cluster.endpoints[index];
      if (endpoint === undefined) throw new Error(`no endpoint ${index}`);
      state.poolOf(endpoint, false).acquire(
        { mayRepeat: true },
        {
          connected(connection) {
            const recorder = new Recorder();
            connection.request(requestHead(), true, recorder);
            resolve(recorder);
          },
          failed: reject,
        },
      );
    });
  const calls = await Promise.all(
    states.flatMap((state) => [call(state, 0), call(state, 1)]),
  );
  const look = async (): Promise<void> => {
    clock.advance(LOOK);
    await new Promise((resolve) => setImmediate(resolve));
  };
  for (let count = 0; count < 22; count += 1) await look();
  t.equal(states.length, 2);
  for (const { ejectionHistory } of states)
    t.match(
      ejectionHistory.entries,
      [
        {
          kind: "ejection",
          reason: "silent-link",
          evidence: /^silent for 2 s .*PING within 1 s$/,
          times: 1,
        },
      ],
      "one of two, and no more",
    );
  t.match(registry.render(), /wherry_ejections_total\{.*silent-link.*\} 1/);
  // The kernel acknowledges, so that the process may be late: what is in flight waits.
  if (process.platform === "linux")
    t.same(
      calls.filter(({ error }) => error !== undefined),
      [],
    );
  while (calls.some(({ error }) => error === undefined)) await look();
  for (const { error } of calls)
    t.match(error, {
      code: "UPSTREAM_RESET",
      silent: true,
      message: /^silent for \d+(?:\.\d)? s .*no acknowledgement of a PING/,
    });
});
