/** What the pages show of one worker. */
import t from "tap";
import { makeMeters } from "../../../src/telemetry/meters.ts";
import { workerView } from "../../../src/sidecar/workers/views.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";

void t.test(
  "a worker shows the requests that it ended, whatever their labels hold, and its open connections",
  (t) => {
    const meters = makeMeters(makeMetrics({ maxSeries: 100 }));
    meters.traffic("inbound", "a", 'x"} 9').request(200, "").add(2);
    meters.traffic("inbound", "b", "").request(503, "NO_ROUTE").add();
    // More than a text with digits alone can say.
    meters.traffic("outbound", "c", "").request(200, "").add(1e21);
    meters.traffic("mirror", "d", "").request(200, "").add(7);
    meters.connections.with("link").add(4);
    t.strictSame(workerView(1, meters, { connections: 3 }), {
      worker: 1,
      requests: { inbound: 3, outbound: 1e21 },
      connections: { link: 4, upstream: 3 },
    });
    t.end();
  },
);
