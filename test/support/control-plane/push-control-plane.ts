/** For tests: the parts of a control plane that sidecars see, on a free port, and sidecars' agents that call it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  startAgent,
  type AgentOptions,
} from "../../../src/agent/mesh-agent.ts";
import type { Agent, AgentState } from "../../../src/agent/agent.ts";
import type { Authority } from "../../../src/control-plane/authority/authority.ts";
import {
  createEnrolmentToken,
  type EnrolmentTokenOptions,
} from "../../../src/control-plane/enrolment/enrolment-token.ts";
import {
  Enrolment,
  type Issuer,
} from "../../../src/control-plane/enrolment/enrolment.ts";
import {
  makeControlPlaneMeters,
  type ControlPlaneMeters,
} from "../../../src/control-plane/meters.ts";
import {
  openShownCertificates,
  type ShownCertificates,
} from "../../../src/control-plane/enrolment/shown-certificates.ts";
import { keepOwnCredentials } from "../../../src/control-plane/own-credentials.ts";
import {
  startPushServer,
  type PushServer,
  type PushServerOptions,
} from "../../../src/control-plane/push/server.ts";
import { proofOfPeer } from "../../../src/control-plane/push/peer.ts";
import {
  followRevocations,
  openRevocations,
  type Revocations,
} from "../../../src/control-plane/enrolment/revocations.ts";
import {
  startRegistry,
  type Registry,
  type RegistryOptions,
} from "../../../src/control-plane/registry/registry.ts";
import { openTrust, Trust } from "../../../src/control-plane/trust/trust.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { systemClock, type Clock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { atOnce } from "../../../src/core/slices.ts";
import { waitFor, type Watch } from "../../../src/core/watch.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
import type { Resource } from "../../../src/resources/envelope.ts";
import { prepareValidators } from "../../../src/resources/validate.ts";

/** What tap's test object gives. */
export interface Scope {
  after(run: () => Promise<void> | void): void;
}

type Issuing = Pick<Authority, "trustBundle" | "fingerprint" | "own"> &
  Pick<Issuer, "sign">;

export interface TestControlPlane {
  readonly store: Store;
  readonly authority: Issuing;
  readonly registry: Registry;
  readonly rotating: Trust | undefined;
  readonly push: PushServer;
  readonly meters: PushServerOptions["meters"];
  readonly port: number;
  /** "HOST:PORT" */
  readonly address: string;
  token(options?: Partial<EnrolmentTokenOptions>): Promise<string>;
  /** Stops it; what the store and the authority hold stays. */
  close(): Promise<void>;
}

export interface TestControlPlaneOptions {
  readonly store?: Store;
  readonly authority?: Issuing;
  /** Of the authority, where none is given; a new one where absent. */
  readonly directory?: string;
  /** Loopback where absent. */
  readonly host?: string;
  readonly port?: number;
  readonly clock?: Clock;
  readonly grace?: RegistryOptions["grace"];
  readonly gather?: PushServerOptions["gather"];
  readonly fieldsSince?: PushServerOptions["fieldsSince"];
}

export const TRUST_DOMAIN = "cluster.local";

export async function temporaryDirectory(t: Scope): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export interface Behind extends Pick<
  TestControlPlane,
  "store" | "authority" | "registry" | "token" | "close"
> {
  /** Undefined where its roots are never rotated. */
  readonly rotating: Trust | undefined;
  readonly enrolment: Enrolment;
  readonly shown: ShownCertificates;
  readonly revocations: Revocations;
  readonly meters: ControlPlaneMeters;
  readonly own: ReturnType<typeof keepOwnCredentials>;
  readonly clock: Clock;
  readonly logger: typeof silentLogger;
}

/** What is behind the push port, whichever it is; to be closed after it. */
export async function startBehind(
  t: Scope,
  options: Pick<
    TestControlPlaneOptions,
    "store" | "authority" | "directory" | "clock" | "grace"
  > = {},
): Promise<Behind> {
  const clock = options.clock ?? systemClock;
  const store = options.store ?? openMemoryStore({ clock });
  const logger = silentLogger;
  const authority =
    options.authority ??
    (await openTrust({
      directory: options.directory ?? join(await temporaryDirectory(t), "ca"),
      ...{ store, trustDomain: TRUST_DOMAIN, clock, logger },
    }));
  const rotating = authority instanceof Trust ? authority : undefined;
  const shown = await openShownCertificates({ store, clock, logger });
  const revocations = await openRevocations({ store, clock, logger });
  const registry = await startRegistry({
    faultOf: (peer) => revocations.faultOf(proofOfPeer(peer)),
    onTakenAway: (workload, identity) => shown.retire(workload, identity),
    store,
    clock,
    logger,
    ...(options.grace === undefined ? {} : { grace: options.grace }),
  });
  const unfollow = followRevocations(registry, revocations, {
    clock,
    logger: silentLogger,
  });
  const meters = makeControlPlaneMeters(makeMetrics({ maxSeries: 100 }));
  const enrolment = new Enrolment({
    meters: meters.signing,
    faultOf: (proof) => revocations.faultOf(proof),
    nameFault: (instance) => registry.nameFault(instance),
    untimelyFault: (peer) => registry.untimelyFault(peer),
    shown,
    store,
    issuer: authority,
    trustDomain: TRUST_DOMAIN,
    clock,
    logger,
  });
  const own = keepOwnCredentials({
    own: (spiffeId) => authority.own(spiffeId),
    revoked: revocations.revoked,
    trustDomain: TRUST_DOMAIN,
    clock,
    logger,
  });
  const leave = rotating?.offer.subscribe(() => own.trustMoved());
  return {
    rotating,
    ...{ store, authority, registry, enrolment, shown, own, clock, logger },
    ...{ revocations, meters },
    async token(wanted: Partial<EnrolmentTokenOptions> = {}): Promise<string> {
      const { text } = await createEnrolmentToken(store, clock, {
        namespace: "shop",
        serviceAccount: "web",
        labels: { app: "web" },
        // Tests call from loopback, and register what they like to read.
        addresses: ["10.0.0.0/24"],
        ttl: 3_600_000,
        uses: 100,
        ca: authority.fingerprint,
        ...wanted,
      });
      return text;
    },
    async close(): Promise<void> {
      unfollow();
      await registry.close();
      await revocations.close();
      await shown.close();
      leave?.();
      own.close();
    },
  };
}

export async function startTestControlPlane(
  t: Scope,
  options: TestControlPlaneOptions = {},
): Promise<TestControlPlane> {
  const behind = await startBehind(t, options);
  const { store, authority, registry, enrolment, shown, own, clock, logger } =
    behind;
  const { rotating, meters } = behind;
  const { host = "127.0.0.1" } = options;
  const push = await startPushServer({
    store,
    registry,
    enrolment,
    shown,
    credentials: own.credentials,
    ...(rotating === undefined ? {} : { trust: rotating.offer }),
    revoked: behind.revocations.revoked,
    trustDomains: [TRUST_DOMAIN],
    host,
    port: options.port ?? 0,
    clock,
    logger,
    meters: meters.push,
    ...(options.gather === undefined ? {} : { gather: options.gather }),
    ...(options.fieldsSince === undefined
      ? {}
      : { fieldsSince: options.fieldsSince }),
  });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closed ??= (async () => {
      await push.close();
      await behind.close();
    })());
  t.after(close);
  return {
    store,
    authority,
    registry,
    rotating,
    push,
    meters: meters.push,
    port: push.port,
    address: `${host}:${push.port}`,
    token: behind.token,
    close,
  };
}

/** An agent with a state directory of its own, closed with the test. */
export async function startTestAgent(
  t: Scope,
  options: Partial<AgentOptions> & { readonly controlPlane: string },
): Promise<Agent> {
  // As `wherry sidecar` does. The first resource of a kind would take 50 ms in one go, for which the agent waits seconds by its budget.
  atOnce(prepareValidators());
  const agent = await startAgent({
    clock: systemClock,
    logger: silentLogger,
    stateDirectory: options.stateDirectory ?? (await temporaryDirectory(t)),
    version: "1.2.3",
    ...options,
  });
  t.after(() => agent.close());
  return agent;
}

/** The next value, or the present one, that `accept` takes; fails after 10 s with the last value. */
export async function eventually<T>(
  watch: Watch<T>,
  accept: (value: T) => boolean,
): Promise<T> {
  const late = new AbortController();
  // Keeps the process alive, which the product's own timers do not.
  const timer = setTimeout(() => late.abort(new Error("late")), 10_000);
  try {
    return await waitFor(watch, accept, late.signal);
  } catch (cause) {
    throw new Error(
      `it never came; the last was ${JSON.stringify(watch.value)}`,
      { cause },
    );
  } finally {
    clearTimeout(timer);
  }
}

/** For what no watch tells of: one side hears of an answer a moment after the other has sent it. Fails after 10 s. */
export async function until(
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  for (let turn = 0; !(await condition()); turn += 1) {
    if (turn === 2000) throw new Error("it never came");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const MESH: Resource = {
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "Mesh",
  metadata: { name: "default" },
  spec: { authorization: { defaultAction: "ALLOW" } },
};

export function service(
  name: string,
  spec: Record<string, unknown> = {},
  namespace = "shop",
): Resource {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name, namespace },
    spec: {
      ports: [{ port: 80, targetPort: 8080 }],
      selector: { app: name },
      ...spec,
    },
  };
}

export function route(
  name: string,
  parent: string,
  namespace = "shop",
): Resource {
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name, namespace },
    spec: {
      parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: parent }],
      rules: [
        {
          matches: [{ path: { type: "PathPrefix", value: `/${name}` } }],
          backendRefs: [{ name: parent, port: 80 }],
        },
      ],
    },
  };
}

/** A control plane with a Mesh (revision 1) and a Service "orders" (revision 2), that gathers changes for a moment only. */
export async function startWithOrders(
  t: Scope,
  options: Pick<TestControlPlaneOptions, "fieldsSince"> = {},
): Promise<TestControlPlane> {
  const plane = await startTestControlPlane(t, {
    gather: { quiet: 10, most: 100 },
    ...options,
  });
  await plane.store.put(MESH, "absent");
  await plane.store.put(service("orders"), "absent");
  return plane;
}

/** Resolves when the agent serves what a control plane has sent or confirmed. */
export function serving(agent: Agent): Promise<AgentState> {
  return eventually(agent.state, ({ source }) => source === "stream");
}
