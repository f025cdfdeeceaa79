/** The interoperability suite of gRPC, client and server of grpc-go: through two sidecars every case holds that holds without them. */
import t from "tap";
import type { AccessRecord } from "../../../src/telemetry/access-log.ts";
import { until, withPair } from "../../support/meshes/pair.ts";
import { relayTo } from "../../support/peers/tcp-relay.ts";
import {
  CASES,
  INTEROP_MISSING,
  runCase,
  startServer,
} from "../../support/processes/grpc-interop.ts";
import { needs } from "../../support/processes/tools.ts";

const SERVICE = "orders.shop:80";

const carried = (log: readonly AccessRecord[], side: string): number =>
  log.filter(({ direction }) => direction === side).length;

void t.test("gRPC as grpc-go has it", needs(INTEROP_MISSING), async (t) => {
  const server = await startServer();
  t.teardown(() => server.stop());
  await withPair(
    {
      appProtocol: "grpc",
      rawApp: () => relayTo(server.port),
      caller: { upstream: [{ port: 0, to: SERVICE }] },
    },
    async ({ caller, log }) => {
      for (const name of CASES)
        t.equal(await runCase(server.port, name), "", `${name} alone`);
      t.equal(log.length, 0);
      const port = caller.ports.upstreams.get(SERVICE) ?? 0;
      for (const name of CASES)
        t.equal(await runCase(port, name), "", `${name} through two sidecars`);
      // A call may be given up before it leaves its client, and one case has twenty.
      for (const side of ["outbound", "inbound"])
        await until(() => carried(log, side) >= 2 * CASES.length);
    },
  );
});
