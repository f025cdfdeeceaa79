/** A whole control plane with its API, tokens of every role, and a caller's sidecar that enrolled with it: what a tenant of the mesh attacks. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startAgent } from "../../../src/agent/mesh-agent.ts";
import { startControlPlane } from "../../../src/control-plane/control-plane.ts";
import { createEnrolmentToken } from "../../../src/control-plane/enrolment/enrolment-token.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import {
  createApiToken,
  type Role,
} from "../../../src/control-plane/tokens.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import {
  startSidecar,
  type BoundPorts,
  type Sidecar,
} from "../../../src/sidecar/sidecar.ts";
import type { WorkloadSpec } from "../../../src/resources/workload/schema.ts";
import { kindNamed } from "../../../src/resources/registry.ts";
import type { Condition, Resource } from "../../../src/resources/envelope.ts";
import { eventually } from "../peers/call.ts";

export interface Asked {
  readonly status: number;
  readonly text: string;
  readonly conditions: Readonly<Record<string, Condition>>;
}

/** One who asks the API. */
export interface Tenant {
  put(resource: Resource): Promise<Asked>;
  get(resource: Resource): Promise<Asked>;
  remove(resource: Resource): Promise<Asked>;
}

export interface LiveMesh {
  readonly apiUrl: string;
  readonly adminTokenFile: string;
  readonly store: Store;
  readonly admin: Tenant;
  tenant(role: Role, namespaces?: readonly string[]): Promise<Tenant>;
  /** A token for `NAMESPACE/ACCOUNT` and the address to take it to. */
  token(account: string): Promise<{ text: string; address: string }>;
  /** A sidecar of `NAMESPACE/ACCOUNT` that has its certificate and the config of now. */
  sidecar(account: string, beside?: Beside): Promise<LiveSidecar>;
}

/** The application that the sidecar stands beside. */
export interface Beside {
  /** Port "http", on loopback. It is published, and registered as a Workload. */
  readonly appPort: number;
}

export interface LiveSidecar {
  readonly sidecar: Sidecar;
  /** The port that callers without a sidecar reach the application by. */
  readonly published: number;
  readonly outbound: number;
  /** Resolves once the sidecar serves what the store holds now. */
  settled(): Promise<Snapshot>;
}

export async function withLiveMesh(
  use: (mesh: LiveMesh) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-live-"));
  const controlPlane = await startControlPlane({
    stateDirectory: join(directory, "control-plane"),
    store: "memory",
    trustDomain: "cluster.local",
    api: { host: "127.0.0.1", port: 0 },
    push: { host: "127.0.0.1", port: 0 },
    clock: systemClock,
    logger: silentLogger,
    profile: "development",
  });
  const { apiUrl, adminTokenFile, store } = controlPlane;
  const sidecars: Sidecar[] = [];
  const tenantOf = (token: string): Tenant => {
    const ask = async (
      method: string,
      resource: Resource,
      body?: string,
    ): Promise<Asked> => {
      const response = await fetch(`${apiUrl}${pathOf(resource)}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body }),
      });
      const text = await response.text();
      const { status } = JSON.parse(text) as Partial<Resource>;
      return {
        status: response.status,
        text,
        conditions: Object.fromEntries(
          (status?.conditions ?? []).map((each) => [each.type, each]),
        ),
      };
    };
    return {
      put: (resource) => ask("PUT", resource, JSON.stringify(resource)),
      get: (resource) => ask("GET", resource),
      remove: (resource) => ask("DELETE", resource),
    };
  };
  const tokenFor = async (account: string): Promise<string> => {
    const [namespace = "", serviceAccount = ""] = account.split("/");
    const { text } = await createEnrolmentToken(store, systemClock, {
      namespace,
      serviceAccount,
      labels: { app: serviceAccount },
      ttl: 60_000,
      uses: 1,
      ca: controlPlane.authority.fingerprint,
    });
    return text;
  };
  try {
    await use({
      apiUrl,
      adminTokenFile,
      store,
      admin: tenantOf((await readFile(adminTokenFile, "utf8")).trim()),
      async tenant(role, namespaces) {
        const { token } = await createApiToken(store, systemClock, {
          role,
          ...(namespaces === undefined ? {} : { namespaces }),
        });
        return tenantOf(token);
      },
      token: async (account) => ({
        text: await tokenFor(account),
        address: controlPlane.pushAddress,
      }),
      async sidecar(account, beside) {
        const [namespace = "", serviceAccount = ""] = account.split("/");
        const text = await tokenFor(account);
        let bound: BoundPorts | undefined;
        const agent = await startAgent({
          controlPlane: controlPlane.pushAddress,
          stateDirectory: join(directory, `${namespace}-${serviceAccount}`),
          token: text,
          name: `${serviceAccount}-1`,
          version: "1.2.3",
          workload: () =>
            beside && workloadOf(beside.appPort, bound?.link ?? 0),
          clock: systemClock,
          logger: silentLogger,
        });
        const sidecar = await startSidecar({
          agent: (ports) => {
            bound = ports;
            return Promise.resolve(agent);
          },
          host: "127.0.0.1",
          metricsHost: "127.0.0.1",
          ports: { outbound: 0, link: 0, admin: 0, metrics: 0 },
          appPorts: beside === undefined ? [] : [beside.appPort],
          publish:
            beside === undefined ? [] : [{ port: 0, appPort: beside.appPort }],
          accessLog: "none",
        });
        sidecars.push(sidecar);
        const settled = async (): Promise<Snapshot> => {
          // Writes of leases and tokens are revisions too: what counts is that all up to now is in force.
          const revision = await newestConfig(store);
          const snapshot = await eventually(
            `${account} has revision ${revision}`,
            10_000,
            () => Promise.resolve(agent.snapshot.value),
            (value) => (value?.version.revision ?? -1) >= revision,
          );
          if (snapshot === undefined) throw new Error("there is no snapshot");
          return snapshot;
        };
        await settled();
        const [published = 0] = sidecar.ports.published.values();
        const outbound = sidecar.ports.outbound ?? 0;
        return { sidecar, outbound, published, settled };
      },
    });
  } finally {
    for (const sidecar of sidecars) await sidecar.destroy();
    await controlPlane.close();
    await rm(directory, { recursive: true, force: true });
  }
}

function workloadOf(appPort: number, link: number): WorkloadSpec {
  return {
    address: "127.0.0.1",
    ports: { http: appPort },
    link: { port: link },
    ttl: "15s",
  };
}

/** The newest revision of anything that is pushed. */
async function newestConfig(store: Store): Promise<number> {
  const kinds = ["Mesh", "Service", "Workload", "AuthorizationPolicy"];
  const lists = await Promise.all(kinds.map((kind) => store.list(kind)));
  return Math.max(
    0,
    ...lists
      .flatMap(({ resources }) => resources)
      .map(({ metadata }) => Number(metadata.resourceVersion)),
  );
}

function pathOf({ kind, apiVersion, metadata }: Resource): string {
  const { namespace, name } = metadata;
  const plural = kindNamed(kind)?.plural ?? "";
  return `/apis/${apiVersion}${namespace === undefined ? "" : `/namespaces/${namespace}`}/${plural}/${name}`;
}
