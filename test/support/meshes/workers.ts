/** A caller and a called workload, each a sidecar of several workers: real threads, real sockets, and an application that counts. */
import {
  Agent as HttpAgent,
  request,
  type RequestListener,
  createServer,
} from "node:http";
import type { Agent, Peers } from "../../../src/agent/agent.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { atOnce } from "../../../src/core/slices.ts";
import { compileSteps } from "../../../src/policy/compile/compile.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  startSidecar,
  type Sidecar,
  type SidecarOptions,
} from "../../../src/sidecar/sidecar.ts";
import {
  fakeAuthority,
  type FakeAuthority,
} from "../certificates/certificate-authority.ts";
import {
  listening,
  memoryAgent,
  resource,
  send,
  type MemoryAgent,
} from "./pair.ts";

export interface Crowd {
  readonly authority: FakeAuthority;
  readonly caller: Sidecar;
  readonly callee: Sidecar;
  readonly callerAgent: MemoryAgent;
  /** Puts these resources in force on both sides; resolves with the refusals. */
  apply(resources: readonly Resource[]): Promise<(string | undefined)[]>;
  /** A connection of the application's that is kept alive. */
  connection(): Caller;
  /** Of `/metrics`: the sum of the series whose line contains all of `parts`. */
  metric(sidecar: Sidecar, ...parts: string[]): Promise<number>;
}

export interface Caller {
  get(
    path?: string,
  ): Promise<{ readonly status: number; readonly text: string }>;
  close(): void;
}

export interface CrowdOptions {
  readonly app: RequestListener;
  readonly workers?: number;
  readonly appProtocol?: "http" | "http2";
  readonly resources?: readonly Resource[];
  readonly caller?: Partial<SidecarOptions>;
  readonly callee?: Partial<SidecarOptions>;
}

/** Runs `use` with a working crowd and takes everything down after it. */
export async function withCrowd(
  options: CrowdOptions,
  use: (crowd: Crowd) => Promise<void>,
): Promise<void> {
  const authority = fakeAuthority();
  const app = createServer(options.app);
  const appPort = await listening(app);
  const sides: Side[] = [];
  const callers: Caller[] = [];
  const start = async (
    name: string,
    more: Partial<SidecarOptions>,
  ): Promise<Side> => {
    const agent = memoryAgent(undefined, authority.credentials(name));
    const side: { peers?: Peers | undefined } = {};
    const sidecar = await startSidecar({
      concurrency: options.workers ?? 2,
      agent: (_ports, peers): Promise<Agent> => {
        side.peers = peers;
        return Promise.resolve(agent);
      },
      host: "127.0.0.1",
      metricsHost: "127.0.0.1",
      ports: { outbound: 0, link: 0, admin: 0, metrics: 0 },
      accessLog: "none",
      logger: silentLogger,
      ...more,
    });
    const started = { name, sidecar, agent, peers: side.peers };
    sides.push(started);
    return started;
  };
  let revision = 0;
  try {
    const callee = await start("orders", {
      appPorts: [appPort],
      ...options.callee,
    });
    const caller = await start("web", { appPorts: [], ...options.caller });
    const base: readonly Resource[] = [
      resource("Mesh", "default", {
        authorization: { defaultAction: "ALLOW" },
      }),
      resource("Service", "orders", {
        ports: [
          {
            name: "http",
            port: 80,
            appProtocol: options.appProtocol ?? "http",
          },
        ],
        selector: { app: "orders" },
      }),
      resource(
        "Workload",
        "orders-1",
        {
          address: "127.0.0.1",
          ports: { http: appPort },
          serviceAccount: "orders",
          link: { port: callee.sidecar.ports.link },
        },
        { labels: { app: "orders" } },
      ),
    ];
    const apply: Crowd["apply"] = (resources) => {
      revision += 1;
      return Promise.all(
        sides.map((side) =>
          put(side, [...base, ...resources], revision, {
            name: side.name === "orders" ? "orders-1" : "web-1",
            namespace: "shop",
            serviceAccount: side.name,
            labels: { app: side.name },
            identity: authority.id(side.name),
            ...(side.name === "orders" ? { ports: { http: appPort } } : {}),
          }),
        ),
      );
    };
    const refused = await apply(options.resources ?? []);
    for (const reason of refused)
      if (reason !== undefined) throw new Error(reason);
    await use({
      authority,
      caller: caller.sidecar,
      callee: callee.sidecar,
      callerAgent: caller.agent,
      apply,
      connection() {
        const made = connection(caller.sidecar.ports.outbound ?? 0);
        callers.push(made);
        return made;
      },
      metric,
    });
  } finally {
    for (const each of callers) each.close();
    for (const { sidecar } of sides) await sidecar.destroy();
    app.close();
    app.closeAllConnections();
  }
}

interface Side {
  readonly name: string;
  readonly sidecar: Sidecar;
  readonly agent: MemoryAgent;
  readonly peers: Peers | undefined;
}

/** As an agent puts a config in force (`agent/config.ts`). */
async function put(
  { agent, peers }: Side,
  resources: readonly Resource[],
  revision: number,
  self: Parameters<typeof compileSteps>[1],
): Promise<string | undefined> {
  const version = { store: "test", revision, digest: "" };
  const { snapshot, difference } = atOnce(
    compileSteps(resources, self, version, {
      previous: agent.snapshot.value,
    }),
  );
  const refused = await peers?.compile({ difference, self, version });
  if (refused !== undefined) return refused;
  agent.snapshot.set(snapshot);
  await peers?.swap();
  return undefined;
}

function connection(port: number): Caller {
  const agent = new HttpAgent({ keepAlive: true, maxSockets: 1 });
  return {
    get: (path = "/") =>
      new Promise((resolve, reject) => {
        request({
          agent,
          host: "127.0.0.1",
          port,
          path,
          headers: { host: "orders.shop" },
        })
          .on("error", reject)
          .on("response", (response) => {
            const chunks: Buffer[] = [];
            response.on("data", (chunk: Buffer) => chunks.push(chunk));
            response.on("end", () =>
              resolve({
                status: response.statusCode ?? 0,
                text: Buffer.concat(chunks).toString("latin1"),
              }),
            );
          })
          .end();
      }),
    close: () => agent.destroy(),
  };
}

async function metric(sidecar: Sidecar, ...parts: string[]): Promise<number> {
  const { text } = await send(sidecar.ports.metrics ?? 0, {
    path: "/metrics",
    host: "127.0.0.1",
  });
  return text
    .split("\n")
    .filter(
      (line) =>
        !line.startsWith("#") && parts.every((part) => line.includes(part)),
    )
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}
