/**
 * A caller's sidecar and instances of the service `orders`, with a fault proxy on every hop that another process could break.
 *
 * ```
 *   calls ──▶ sidecar of web ──▶ toxiproxy ──▶ sidecar of orders-N ──▶ toxiproxy ──▶ application in HTTP/1.1 (port 80) or HTTP/2 (90)
 * ```
 */
import type { Server } from "node:net";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import {
  startSidecar,
  type Sidecar,
  type SidecarOptions,
} from "../../../src/sidecar/sidecar.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import type { AccessRecord } from "../../../src/telemetry/access-log.ts";
import { fakeAuthority } from "../certificates/certificate-authority.ts";
import { listening, memoryAgent, resource } from "./pair.ts";
import { startToxiproxy, type FaultyHop } from "../faults/toxiproxy.ts";

export interface FaultyInstance {
  readonly link: FaultyHop;
  /** To the application. */
  readonly http: FaultyHop;
  readonly http2: FaultyHop;
  /** Its sidecar shuts down in order, GOAWAY and all, and another takes its place once it has. */
  drain(): Promise<void>;
}

export interface FaultyFleet {
  readonly caller: Sidecar;
  readonly instances: readonly FaultyInstance[];
  /** The caller's access log. */
  readonly log: readonly AccessRecord[];
  close(): Promise<void>;
}

export interface FaultyFleetOptions {
  readonly instances: number;
  /** The two applications of an instance, not yet listening. */
  app(): { readonly http: Server; readonly http2: Server };
  readonly resources: readonly Resource[];
}

export async function startFaultyFleet(
  options: FaultyFleetOptions,
): Promise<FaultyFleet> {
  const authority = fakeAuthority();
  const toxiproxy = await startToxiproxy();
  const log: AccessRecord[] = [];
  const sidecars = new Set<Sidecar>();
  const servers: Server[] = [];
  const workloads: Resource[] = [];
  const instances: FaultyInstance[] = [];

  const start = async (
    account: string,
    resources: readonly Resource[],
    ports: Readonly<Record<string, number>>,
    more: Partial<SidecarOptions>,
  ): Promise<Sidecar> => {
    const snapshot = compileSnapshot(
      [...base, ...options.resources, ...resources],
      {
        name: `${account}-1`,
        namespace: "shop",
        serviceAccount: account,
        labels: { app: account },
        identity: authority.id(account),
        ports,
      },
      { store: "test", revision: 1, digest: "" },
      {},
    );
    const agent = memoryAgent(snapshot, authority.credentials(account));
    const sidecar = await startSidecar({
      agent: () => Promise.resolve(agent),
      host: "127.0.0.1",
      metricsHost: "127.0.0.1",
      ports: { outbound: 0, link: 0, metrics: 0 },
      appPorts: [],
      accessLog: "none",
      ...more,
    });
    sidecars.add(sidecar);
    return sidecar;
  };

  for (let index = 1; index <= options.instances; index += 1) {
    const app = options.app();
    servers.push(app.http, app.http2);
    const http = await toxiproxy.hop(
      `http-${index}`,
      await listening(app.http),
    );
    const http2 = await toxiproxy.hop(
      `http2-${index}`,
      await listening(app.http2),
    );
    const ports = { http: http.port, http2: http2.port };
    const startOwn = (): Promise<Sidecar> => start("orders", [], ports, {});
    let sidecar = await startOwn();
    const link = await toxiproxy.hop(`link-${index}`, linkOf(sidecar));
    workloads.push(
      resource(
        "Workload",
        `orders-${index}`,
        {
          address: "127.0.0.1",
          ports,
          serviceAccount: "orders",
          link: { port: link.port },
        },
        { labels: { app: "orders" } },
      ),
    );
    instances.push({
      link,
      http,
      http2,
      async drain() {
        const next = await startOwn();
        await sidecar.shutDown();
        sidecars.delete(sidecar);
        sidecar = next;
        await link.leadTo(linkOf(next));
      },
    });
  }
  const caller = await start(
    "web",
    workloads,
    {},
    {
      accessLog: "all",
      writeAccessLog: (line) => log.push(JSON.parse(line) as AccessRecord),
    },
  );
  return {
    caller,
    instances,
    log,
    async close() {
      for (const sidecar of sidecars) await sidecar.destroy();
      await toxiproxy.stop();
      for (const server of servers) server.close();
    },
  };
}

function linkOf({ ports }: Sidecar): number {
  if (ports.link === undefined) throw new Error("the sidecar has no link");
  return ports.link;
}

const base: readonly Resource[] = [
  resource("Mesh", "default", { authorization: { defaultAction: "ALLOW" } }),
  resource("Service", "orders", {
    ports: [
      { name: "http", port: 80, appProtocol: "http" },
      { name: "http2", port: 90, appProtocol: "http2" },
    ],
    selector: { app: "orders" },
  }),
];
