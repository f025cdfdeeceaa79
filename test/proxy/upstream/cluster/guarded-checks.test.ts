/** Health checks of a host below a wildcard lead where its calls may lead, and nowhere else. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { systemClock } from "../../../../src/core/clock.ts";
import { watchSource } from "../../../../src/core/watch.ts";
import { compileSnapshot } from "../../../../src/policy/compile/compile.ts";
import type { Cluster, Endpoint } from "../../../../src/policy/snapshot.ts";
import { checkEndpoint } from "../../../../src/proxy/upstream/cluster/health-check.ts";
import {
  placeOf,
  poolSettingsOf,
  spoken,
} from "../../../../src/proxy/upstream/cluster/places.ts";
import { makePools } from "../../../../src/proxy/upstream/pool/pools.ts";
import { TRAFFIC_DEFAULTS } from "../../../../src/resources/traffic-policy/settings.ts";
import t from "tap";
import {
  self,
  service,
  VERSION,
} from "../../../support/resources/policy-fixtures.ts";

const SETTINGS = {
  interval: 1000,
  timeout: 1000,
  unhealthyThreshold: 1,
  healthyThreshold: 1,
};

function clusterOf(appProtocol: "http" | "tcp"): Cluster {
  const snapshot = compileSnapshot(
    [
      service("shop/w", {
        location: "MESH_EXTERNAL",
        hosts: ["*.example.com"],
        ports: [{ port: 80, appProtocol }],
      }),
    ],
    self(),
    VERSION,
  );
  const found = snapshot.destination("a.example.com", 80);
  if (found === undefined) throw new Error("it leads nowhere");
  return found.cluster;
}

/** What a private address of this machine has seen. */
async function privateServer(): Promise<{
  readonly server: Server;
  readonly seen: string[];
}> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.url ?? "");
    response.end();
  });
  server.on("connection", () => seen.push("connection"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { server, seen };
}

for (const { appProtocol, check } of [
  { appProtocol: "http", check: { path: "/latest/meta-data" } },
  { appProtocol: "tcp", check: { tcp: true } },
  { appProtocol: "http", check: { tcp: true } },
] as const)
  for (const ranges of [[], ["127.0.0.0/8", "::1/128"]])
    void t.test(
      `${appProtocol} ${JSON.stringify(check)} may reach ${String(ranges)}`,
      async (t) => {
        const { server, seen } = await privateServer();
        const address = server.address();
        const port =
          address !== null && typeof address === "object" ? address.port : 0;
        const pools = makePools({
          clock: systemClock,
          credentials: watchSource(undefined),
          ownPorts: new Set(),
          linkProtocol: "h2",
        });
        t.teardown(() => {
          pools.destroy();
          server.closeAllConnections();
          server.close();
        });
        const cluster = clusterOf(appProtocol);
        const [named] = cluster.endpoints;
        t.ok(named?.reach, "where it may lead is known");
        const endpoint: Endpoint = {
          ...(named as Endpoint),
          address: "localhost",
          port,
          reach: { hosts: [], ranges },
        };
        const { kind } = await checkEndpoint({
          cluster,
          endpoint,
          settings: { ...SETTINGS, ...check },
          pool: (tunnel) => {
            const place = placeOf(cluster, endpoint);
            return pools.find(
              place.kind === "link" ? place : spoken(place, tunnel),
              poolSettingsOf(TRAFFIC_DEFAULTS),
            );
          },
          signal: new AbortController().signal,
        });
        if (ranges.length > 0) t.equal(kind, "healthy");
        else {
          t.not(kind, "healthy");
          t.strictSame(seen, [], "nothing came there");
        }
      },
    );
