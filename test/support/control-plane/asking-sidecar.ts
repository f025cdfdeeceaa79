/** A sidecar that holds what it uses, its control plane in the test's hands, and the applications that it calls: all in this process. */
import { createServer, type Server } from "node:http";
import type { AgentOptions } from "../../../src/agent/mesh-agent.ts";
import type { Agent } from "../../../src/agent/agent.ts";
import type { Declared } from "../../../src/agent/interest/mesh-interest.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  startSidecar,
  type Sidecar,
  type SidecarOptions,
} from "../../../src/sidecar/sidecar.ts";
import type { AccessRecord } from "../../../src/telemetry/access-log.ts";
import type { SpanRecord } from "../../../src/telemetry/tracing.ts";
import {
  listening,
  resource,
  send,
  type Answer,
  type CallOptions,
} from "../meshes/pair.ts";
import { serving, startTestAgent, type Scope } from "./push-control-plane.ts";
import { startScriptedPlane, type ScriptedPlane } from "./scripted-plane.ts";

export interface AskingOptions {
  /** Services "NAME" of namespace shop, each with an application of its own without a sidecar. */
  readonly services: readonly string[];
  /** Besides these and the Mesh. */
  readonly resources?: readonly Resource[];
  /** Spec of the Mesh. */
  readonly mesh?: Readonly<Record<string, unknown>>;
  readonly declared?: Partial<Declared>;
  /** The control plane knows of no interests. */
  readonly older?: boolean;
  readonly agent?: Partial<AgentOptions>;
  /** Whether the control plane can be reached; it can unless it is said. */
  readonly serves?: boolean;
  readonly sidecar?: Partial<SidecarOptions>;
}

/** A sidecar that holds what it uses. */
export interface UsingSidecar {
  readonly agent: Agent;
  readonly sidecar: Sidecar;
  readonly log: AccessRecord[];
  readonly spans: SpanRecord[];
  readonly call: (host: string, options?: CallOptions) => Promise<Answer>;
  /** Names of the Services that the sidecar holds. */
  readonly held: () => string[];
}

export interface AskingSidecar extends UsingSidecar {
  readonly plane: ScriptedPlane;
  /** Ports of the applications. */
  readonly ports: ReadonlyMap<string, number>;
}

/** Resolves when the sidecar serves its first config. */
export async function startAsking(
  t: Scope,
  options: AskingOptions,
): Promise<AskingSidecar> {
  const ports = new Map<string, number>();
  for (const name of options.services)
    ports.set(name, await startApplication(t, name));
  const plane = await startScriptedPlane(t, [
    resource("Mesh", "default", {
      authorization: { defaultAction: "ALLOW" },
      mtls: { mode: "PERMISSIVE" },
      ...options.mesh,
    }),
    ...Array.from(ports, ([name, port]) => callable(name, port)).flat(),
    ...(options.resources ?? []),
  ]);
  plane.older = options.older === true;
  return { ...(await startUsing(t, plane, options)), plane, ports };
}

/** Resolves when the sidecar serves its first config from that control plane. */
export async function startUsing(
  t: Scope,
  plane: { readonly address: string; token(): Promise<string> },
  options: Pick<
    AskingOptions,
    "declared" | "agent" | "serves" | "sidecar"
  > = {},
): Promise<UsingSidecar> {
  const log: AccessRecord[] = [];
  const spans: SpanRecord[] = [];
  const token = await plane.token();
  const sidecar = await startSidecar({
    agent: (_ports, peers) =>
      startTestAgent(t, {
        controlPlane: plane.address,
        token,
        name: "web-1",
        interest: { services: [], hosts: [], ...options.declared },
        peers,
        ...options.agent,
      }),
    host: "127.0.0.1",
    metricsHost: "127.0.0.1",
    ports: { outbound: 0, admin: 0, metrics: 0 },
    appPorts: [],
    accessLog: "all",
    scope: "used",
    writeAccessLog: (line) => log.push(JSON.parse(line) as AccessRecord),
    tracing: { sink: (span) => spans.push(span), samplingPercentage: 100 },
    ...options.sidecar,
  });
  t.after(() => sidecar.destroy());
  const { agent } = sidecar;
  if (options.serves !== false) await serving(agent);
  return {
    agent,
    sidecar,
    log,
    spans,
    call: (host, call) => send(sidecar.ports.outbound ?? 0, { host, ...call }),
    held: () => [
      ...new Set(
        agent.snapshot.value?.destinations.map(({ service }) => service.name),
      ),
    ],
  };
}

/** Answers with its name and what it was asked. */
export async function startApplication(
  t: Scope,
  name: string,
): Promise<number> {
  const server: Server = createServer((request, response) => {
    response.end(`${name} ${request.url ?? ""}`);
  });
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return listening(server);
}

/** A Service and its one Workload. */
export function callable(name: string, port: number): Resource[] {
  return [
    resource("Service", name, {
      ports: [{ name: "http", port: 80, appProtocol: "http" }],
      selector: { app: name },
    }),
    resource(
      "Workload",
      `${name}-1`,
      { address: "127.0.0.1", ports: { http: port } },
      { labels: { app: name } },
    ),
  ];
}

/** A Service of port 5432 whose bytes nobody reads, and its one Workload. */
export function database(name: string, port: number): Resource[] {
  return [
    resource("Service", name, {
      ports: [{ name: "tcp", port: 5432, appProtocol: "tcp" }],
      selector: { app: name },
    }),
    resource(
      "Workload",
      `${name}-1`,
      { address: "127.0.0.1", ports: { tcp: port } },
      { labels: { app: name } },
    ),
  ];
}
