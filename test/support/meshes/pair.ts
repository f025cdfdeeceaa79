/** A caller's sidecar, the sidecars of the instances that it calls, and their applications: all in this process, on ports of the system's choosing. */
import { once } from "node:events";
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type RequestListener,
  type OutgoingHttpHeaders,
} from "node:http";
import {
  createServer as createTcpServer,
  type Server,
  type Socket,
} from "node:net";
import type { Agent, AgentState } from "../../../src/agent/agent.ts";
import { systemClock, type Clock } from "../../../src/core/clock.ts";
import { localToken } from "../../../src/core/local/local-token.ts";
import { watchSource, type WatchSource } from "../../../src/core/watch.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { type Snapshot } from "../../../src/policy/snapshot.ts";
import { compileSnapshot } from "../../../src/policy/compile/compile.ts";
import type { Protocol } from "../../../src/wire/exchange.ts";
import type { Outside, OutsideCall } from "../../../src/push/messages.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  startSidecar,
  type Sidecar,
  type SidecarOptions,
} from "../../../src/sidecar/sidecar.ts";
import type { AccessRecord } from "../../../src/telemetry/access-log.ts";
import type { SpanRecord } from "../../../src/telemetry/tracing.ts";
import {
  fakeAuthority,
  type FakeAuthority,
} from "../certificates/certificate-authority.ts";

export interface PairOptions {
  /** The application of instance `index`, over node:http. */
  readonly app?: (index: number) => RequestListener;
  /** In place of `app`: a connection at a time, to misbehave on. */
  readonly rawApp?: (index: number) => (socket: Socket) => void;
  /** Instances of the service `orders`; 1 unless given. */
  readonly instances?: number;
  readonly appProtocol?: "http" | "http2" | "grpc" | "tcp" | "tls";
  /** Besides Mesh, Service and Workloads. */
  readonly resources?: readonly Resource[];
  /** Spec of the Mesh. */
  readonly mesh?: Readonly<Record<string, unknown>>;
  readonly clock?: Clock;
  readonly linkProtocol?: Protocol;
  /** Of either side. */
  readonly caller?: Partial<SidecarOptions>;
  readonly callee?: Partial<SidecarOptions>;
  /** Each instance publishes its application's port, for callers without a sidecar. */
  readonly calleePublish?: boolean;
  /** Instances without a sidecar, called in plaintext. */
  readonly plaintext?: boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly text: string;
  /** `x-wherry-reason`. */
  readonly reason: string | undefined;
}

export interface CallOptions {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Buffer;
  /** With a chunked body. */
  readonly trailers?: Readonly<Record<string, string>>;
}

/** What the admin ports of a pair want of whoever changes something. */
export const ADMIN_AUTHORIZATION = "Bearer lever";

export interface Instance {
  readonly app: Server;
  readonly appPort: number;
  readonly sidecar: Sidecar | undefined;
  readonly agent: MemoryAgent | undefined;
}

export interface Pair {
  readonly authority: FakeAuthority;
  readonly caller: Sidecar;
  readonly callerAgent: MemoryAgent;
  readonly instances: readonly Instance[];
  /** The only instance, or the first. */
  readonly callee: Sidecar;
  readonly spans: SpanRecord[];
  readonly log: AccessRecord[];
  /** Puts these resources in force on all sides, in place of the earlier ones; a Mesh among them in place of that of the options. */
  apply(resources: readonly Resource[]): void;
  /** Calls through the caller's outbound listener. */
  call(options?: CallOptions): Promise<Answer>;
  /** The value of a series of the caller's metrics that contains all of `parts`; 0 where there is none. */
  metric(sidecar: Sidecar, ...parts: string[]): Promise<number>;
}

/** An agent that has what the test gives it. */
export interface MemoryAgent extends Agent {
  readonly snapshot: WatchSource<Snapshot | undefined>;
  readonly credentials: WatchSource<Credentials | undefined>;
  readonly calls: string[];
  /** What has left the mesh since the last time. */
  departures(): readonly OutsideCall[];
}

export function memoryAgent(
  snapshot: Snapshot | undefined,
  credentials: Credentials | undefined,
): MemoryAgent {
  const calls: string[] = [];
  let look: (() => Outside) | undefined;
  return {
    outside: {
      watch(asked) {
        look = asked;
        return () => undefined;
      },
      tell: () => undefined,
    },
    departures: () => look?.().calls ?? [],
    snapshot: watchSource(snapshot),
    credentials: watchSource(credentials),
    state: watchSource<AgentState>({ source: "files", connected: true }),
    calls,
    setReady(ready) {
      calls.push(`ready ${ready}`);
      return Promise.resolve();
    },
    deregister() {
      calls.push("deregister");
      return Promise.resolve();
    },
    clockJumped: () => undefined,
    close() {
      calls.push("close");
      return Promise.resolve();
    },
  };
}

export function resource(
  kind: string,
  name: string,
  spec: unknown,
  metadata: Record<string, unknown> = {},
): Resource {
  const group =
    kind === "HTTPRoute" || kind === "GRPCRoute"
      ? "gateway.networking.k8s.io/v1"
      : kind === "AuthorizationPolicy" ||
          kind === "PeerAuthentication" ||
          kind === "RequestAuthentication"
        ? "security.istio.io/v1"
        : kind === "Telemetry"
          ? "telemetry.istio.io/v1"
          : "mesh.wherry.dev/v1alpha1";
  return {
    apiVersion: group,
    kind,
    metadata: {
      name,
      ...(kind === "Mesh" || kind === "Revocation"
        ? {}
        : { namespace: "shop" }),
      ...metadata,
    },
    spec,
  };
}

/** Runs `use` with a working pair and takes everything down after it. */
export async function withPair(
  options: PairOptions,
  use: (pair: Pair) => Promise<void>,
): Promise<void> {
  const clock = options.clock ?? systemClock;
  const authority = fakeAuthority();
  const spans: SpanRecord[] = [];
  const log: AccessRecord[] = [];
  const sidecars: Sidecar[] = [];
  const instances: Instance[] = [];
  const agents: (MemoryAgent & { readonly as: string })[] = [];
  let revision = 0;
  const start = async (
    name: string,
    more: Partial<SidecarOptions>,
  ): Promise<{ sidecar: Sidecar; agent: MemoryAgent }> => {
    const agent = {
      ...memoryAgent(undefined, authority.credentials(name)),
      as: name,
    };
    agents.push(agent);
    const sidecar = await startSidecar({
      agent: () => Promise.resolve(agent),
      clock,
      host: "127.0.0.1",
      metricsHost: "127.0.0.1",
      adminToken: localToken("/state/sidecar-admin.token", "lever"),
      ports: { outbound: 0, inbound: 0, link: 0, admin: 0, metrics: 0 },
      accessLog: "all",
      writeAccessLog: (line) => log.push(JSON.parse(line) as AccessRecord),
      tracing: { sink: (span) => spans.push(span), samplingPercentage: 100 },
      ...(options.linkProtocol === undefined
        ? {}
        : { linkProtocol: options.linkProtocol }),
      ...more,
    });
    sidecars.push(sidecar);
    return { sidecar, agent };
  };

  try {
    for (let index = 0; index < (options.instances ?? 1); index += 1) {
      const app =
        options.rawApp === undefined
          ? createServer(options.app?.(index) ?? echo)
          : createTcpServer({ allowHalfOpen: true }, options.rawApp(index));
      const appPort = await listening(app);
      const started =
        options.plaintext === true
          ? undefined
          : await start("orders", {
              appPorts: [appPort],
              ...(options.calleePublish === true
                ? { publish: [{ port: 0, appPort }] }
                : {}),
              ...options.callee,
            });
      instances.push({
        app,
        appPort,
        sidecar: started?.sidecar,
        agent: started?.agent,
      });
    }
    const base = (): Resource[] => [
      resource("Mesh", "default", {
        authorization: { defaultAction: "ALLOW" },
        ...options.mesh,
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
      ...instances.map(({ appPort, sidecar }, index) =>
        resource(
          "Workload",
          `orders-${index + 1}`,
          {
            address: "127.0.0.1",
            ports: { http: appPort },
            serviceAccount: "orders",
            ...(sidecar === undefined
              ? {}
              : { link: { port: sidecar.ports.link } }),
          },
          { labels: { app: "orders" } },
        ),
      ),
    ];
    const caller = await start("web", { appPorts: [], ...options.caller });
    const apply = (resources: readonly Resource[]): void => {
      revision += 1;
      let index = 0;
      for (const agent of agents) {
        // Each instance listens on a port of its own: it is told of its own Workload only, as its labels would tell it apart.
        const own = agent.as === "orders" ? (index += 1) : 0;
        const meshless = resources.some(({ kind }) => kind === "Mesh")
          ? base().filter(({ kind }) => kind !== "Mesh")
          : base();
        const all = [...meshless, ...resources].filter(
          ({ kind, metadata }) =>
            own === 0 ||
            kind !== "Workload" ||
            metadata.name === `orders-${own}`,
        );
        agent.snapshot.set(
          compileSnapshot(
            all,
            {
              name: own === 0 ? `${agent.as}-1` : `orders-${own}`,
              namespace: "shop",
              serviceAccount: agent.as,
              labels: { app: agent.as },
              identity: authority.id(agent.as),
              ...(own === 0
                ? {}
                : { ports: { http: instances[own - 1]?.appPort ?? 0 } }),
            },
            { store: "test", revision, digest: "" },
            { previous: agent.snapshot.value },
          ),
        );
      }
    };
    apply(options.resources ?? []);
    await use({
      authority,
      caller: caller.sidecar,
      callerAgent: caller.agent,
      instances,
      get callee() {
        const first = instances[0]?.sidecar;
        if (first === undefined) throw new Error("there is no callee");
        return first;
      },
      spans,
      log,
      apply,
      call: (call) => send(caller.sidecar.ports.outbound ?? 0, call),
      metric,
    });
  } finally {
    for (const sidecar of sidecars) await sidecar.destroy();
    for (const { app } of instances) {
      app.close();
      if ("closeAllConnections" in app)
        (app.closeAllConnections as () => void)();
    }
  }
}

/** Answers with what it got. */
const echo: RequestListener = (request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = JSON.stringify({
      method: request.method,
      url: request.url,
      headers: request.headers,
      trailers: request.trailers,
      body: Buffer.concat(chunks).toString("latin1"),
    });
    response.setHeader("content-type", "application/json");
    response.end(body);
  });
};

/** One HTTP/1.1 request on a connection of its own. Rejects where the exchange breaks. */
export function send(port: number, options: CallOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      host: "127.0.0.1",
      port,
      agent: false,
      method: options.method ?? "GET",
      path: options.path ?? "/",
      headers: { host: options.host ?? "orders.shop", ...options.headers },
    });
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const reason = response.headers["x-wherry-reason"];
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          trailers: response.trailers,
          text: Buffer.concat(chunks).toString("latin1"),
          reason: typeof reason === "string" ? reason : undefined,
        });
      });
    });
    if (options.trailers !== undefined) request.addTrailers(options.trailers);
    request.end(options.body);
  });
}

async function metric(sidecar: Sidecar, ...parts: string[]): Promise<number> {
  const { text } = await send(sidecar.ports.metrics ?? 0, {
    path: "/metrics",
    host: "127.0.0.1",
  });
  const line = text
    .split("\n")
    .find(
      (each) =>
        !each.startsWith("#") && parts.every((part) => each.includes(part)),
    );
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(" ")));
}

export async function listening(
  server: Server,
  host = "127.0.0.1",
): Promise<number> {
  server.listen(0, host);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string")
    throw new Error("no TCP address");
  return address.port;
}

/** Lets the process go on until `done`; the test's own time-out ends a wait for ever. */
export async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}
