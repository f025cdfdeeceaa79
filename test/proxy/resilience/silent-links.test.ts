/** An instance that says nothing from the first request on costs a call that may be repeated nothing but time. */
import t from "tap";
import { systemClock } from "../../../src/core/clock.ts";
import { LOOK } from "../../../src/proxy/upstream/pool/link-watch.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { resource, withPair } from "../../support/meshes/pair.ts";
import { testLink } from "../../support/peers/link.ts";

for (const [method, statuses] of [
  ["GET", [200, 200]],
  ["POST", [200, 503]],
] as const)
  void t.test(`${method} on a new link that is silent`, async (t) => {
    // Certificates are judged by it, too.
    const clock = fakeClock({ wall: systemClock.wall() });
    await withPair({ caller: { clock } }, async (pair) => {
      let silent = 0;
      const link = await testLink(pair.authority.credentials("orders"), {
        onConnection(socket) {
          silent += 1;
          socket.pause();
        },
      });
      t.teardown(() => link.close());
      pair.apply([
        resource(
          "Workload",
          "orders-2",
          {
            address: "127.0.0.1",
            ports: { http: 1 },
            serviceAccount: "orders",
            link: { port: link.port },
          },
          { labels: { app: "orders" } },
        ),
      ]);
      const calls = Promise.all([pair.call({ method }), pair.call({ method })]);
      const state = { over: false };
      void calls.finally(() => (state.over = true));
      while (!state.over) {
        if (silent > 0) clock.advance(LOOK);
        await new Promise((resolve) => setImmediate(resolve));
      }
      const found = (await calls).map(({ status }) => status);
      t.same(found.sort(), statuses);
      const one = "the second tells whether more than the link is silent";
      t.ok(silent <= 2, one);
    });
  });
