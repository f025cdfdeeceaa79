/** An API over a memory store, with sidecars of the test's making. */
import { ObservedCalls } from "../../../src/control-plane/observed/observed-calls.ts";
import { OutsideCalls } from "../../../src/control-plane/observed/outside-calls.ts";
import type {
  InjectOptions,
  LightMyRequestResponse as Response,
} from "fastify";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { checkAgainstStore } from "../../../src/control-plane/checks.ts";
import {
  makeControlPlaneMeters,
  type ApiMeters,
} from "../../../src/control-plane/meters.ts";
import { API_REASONS } from "../../../src/control-plane/api/errors.ts";
import type { ApiOptions } from "../../../src/control-plane/api/options.ts";
import type { Api } from "../../../src/control-plane/api/api.ts";
import { buildApi } from "../../../src/control-plane/api/server.ts";
import { storeOver } from "../../../src/control-plane/push/catalogue/mesh-view.ts";
import { GATHER, startFeed } from "../../../src/control-plane/push/feed.ts";
import type {
  InForce,
  SidecarConfig,
  SidecarStatus,
} from "../../../src/control-plane/push/status.ts";
import { RotationRunner } from "../../../src/control-plane/trust/rotation-runner.ts";
import {
  openTrust,
  type Trust,
} from "../../../src/control-plane/trust/trust.ts";
import { makeStatusReader } from "../../../src/control-plane/status.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type {
  HistoryLimits,
  Store,
} from "../../../src/control-plane/store/store.ts";
import {
  createApiToken,
  type Role,
} from "../../../src/control-plane/tokens.ts";
import type { Clock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
import { fakeClock, type FakeClock } from "../clocks/fake-clock.ts";

export interface Rig {
  readonly api: Api;
  readonly store: Store;
  readonly clock: FakeClock;
  readonly options: ApiOptions;
  /** What the test says of sidecars; it may change it. */
  readonly world: {
    sidecars: SidecarStatus[];
    config: SidecarConfig | undefined;
    /** Of the last look at a sidecar's config: what was asked besides. */
    asked: readonly string[] | undefined;
    inForce: InForce;
    leased: Set<string>;
    ready: boolean;
    accepted: boolean;
    /** Milliseconds by which the event loop is. */
    late: number;
  };
  readonly meters: ApiMeters;
  /** As the administrator, unless `headers` say otherwise. */
  readonly call: (
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD",
    url: string,
    body?: unknown,
    headers?: Record<string, string>,
  ) => Promise<Answer>;
  /** The header of a new token. */
  readonly as: (
    role: Role,
    namespaces?: readonly string[],
  ) => Promise<Record<string, string>>;
}

export interface Answer {
  readonly code: number;
  readonly body: Record<string, unknown>;
  readonly text: string;
  readonly headers: Response["headers"];
}

/** Real, in a directory of its own. */
async function trustFor(
  t: Pick<Test, "teardown">,
  parts: Pick<ApiOptions, "store" | "push"> & { readonly clock: Clock },
): Promise<{ readonly trust: Trust; readonly rotation: RotationRunner }> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-"));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const logger = silentLogger;
  const trust = await openTrust({
    directory: join(directory, "authority"),
    trustDomain: "cluster.local",
    ...{ ...parts, logger },
  });
  const registry = { registered: [], lease: () => undefined };
  const rotation = new RotationRunner({ trust, registry, ...parts, logger });
  t.teardown(() => rotation.close());
  return { trust, rotation };
}

export async function rig(
  t: Pick<Test, "teardown">,
  settings: { history?: HistoryLimits } = {},
): Promise<Rig> {
  const clock = fakeClock();
  const { history } = settings;
  const store = openMemoryStore({
    clock,
    ...(history === undefined ? {} : { history }),
  });
  const world: Rig["world"] = {
    sidecars: [],
    config: undefined,
    asked: undefined,
    inForce: { have: 0, of: 0, refused: 0 },
    leased: new Set(),
    ready: true,
    accepted: false,
    late: 0,
  };
  const meters = makeControlPlaneMeters(makeMetrics({ maxSeries: 1000 }));
  const push = {
    status: () => Promise.resolve(world.sidecars),
    instances: () => Promise.resolve(world.sidecars.map(instanceOf)),
    shown: (instance: string) =>
      world.sidecars.find((each) => instanceOf(each) === instance),
    sidecar: (namespace: string, name: string) =>
      world.sidecars.find(
        (each) =>
          each.namespace === namespace && each.name === name && each.connected,
      ),
    inForce: () => world.inForce,
    refusing: () =>
      world.sidecars.flatMap(({ namespace, name, refused }) =>
        refused === undefined
          ? []
          : [{ namespace, name, reason: refused.reason, has: () => true }],
      ),
    configOf: (_sidecar: unknown, asked?: readonly string[]) => {
      world.asked = asked;
      return world.config;
    },
    statistics: () => ({
      pushes: 0,
      acknowledged: 0,
      refused: 0,
      resources: 0,
      removed: 0,
      bytes: 0,
      encoded: 0,
      connected: world.sidecars.length,
    }),
  };
  const feed = await startFeed({
    store,
    clock,
    logger: silentLogger,
    gather: GATHER,
    onSettled: () => undefined,
  });
  t.teardown(() => feed.close());
  const { trust, rotation } = await trustFor(t, { store, clock, push });
  const observed = new ObservedCalls(clock);
  const outside = new OutsideCalls(clock);
  const options: ApiOptions = {
    store,
    ...{ observed, outside },
    storeKind: "memory",
    clock,
    logger: silentLogger,
    trustDomain: "cluster.local",
    trust,
    rotation,
    enrolmentAddress: () => "127.0.0.1:15012",
    mesh: feed,
    openStatus: makeStatusReader({
      ...{ mesh: feed, push, observed },
      lease: () => undefined,
    }),
    checkInPlace: (resources) =>
      checkAgainstStore(resources, {
        store: storeOver(feed),
        mesh: feed,
        trustDomain: "cluster.local",
        clock,
      }),
    isLeased: (namespace, name) => world.leased.has(`${namespace}/${name}`),
    unconfirmed: () => Promise.resolve([]),
    push,
    acceptance: {
      get accepted() {
        return world.accepted;
      },
      accept() {
        world.accepted = true;
        return Promise.resolve();
      },
    },
    isReady: () => world.ready,
    loop: {
      get standing() {
        return world.late;
      },
    },
    meters: meters.api,
    metrics: () => Promise.resolve(meters.registry.render()),
  };
  const api = await buildApi(options);
  t.teardown(() => api.close());
  const as: Rig["as"] = async (role, namespaces) => {
    const { token } = await createApiToken(store, clock, {
      role,
      ...(namespaces === undefined ? {} : { namespaces }),
    });
    return { authorization: `Bearer ${token}` };
  };
  const admin = await as("admin");
  return {
    api,
    store,
    clock,
    options,
    world,
    meters: meters.api,
    as,
    async call(method, url, body, headers = {}) {
      const injected: InjectOptions = {
        method,
        url,
        headers: { ...admin, ...headers },
      };
      if (body !== undefined) {
        injected.headers = {
          "content-type": "application/json",
          ...injected.headers,
        };
        injected.payload =
          typeof body === "string" ? body : JSON.stringify(body);
      }
      const answer = await api.inject(injected);
      const { statusCode: code, body: text } = answer;
      const parsed = text.startsWith("{")
        ? (JSON.parse(text) as Record<string, unknown>)
        : {};
      // Whatever a test is about: a refusal has its reason from the table.
      if (code >= 400 && method !== "HEAD" && !isDocumented(code, parsed))
        throw new Error(
          `${method} ${url}: ${code} without its reason: ${text}`,
        );
      return { code, text, body: parsed, headers: answer.headers };
    },
  };
}

function isDocumented(code: number, body: Record<string, unknown>): boolean {
  return Object.entries(API_REASONS).some(
    ([reason, { status }]) => reason === body["reason"] && status === code,
  );
}

export const OWN = "/apis/mesh.wherry.dev/v1alpha1";
export const SHOP: string = `${OWN}/namespaces/shop`;
export const ROUTES =
  "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes";

export function service(
  name: string,
  more: Record<string, unknown> = {},
  spec: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    apiVersion: "mesh.wherry.dev/v1alpha1",
    kind: "Service",
    metadata: { name, ...more },
    spec: {
      ports: [{ name: "http", port: 80, appProtocol: "http" }],
      selector: { app: name },
      ...spec,
    },
  };
}

export function route(
  name: string,
  backend: string,
  port: number,
): Record<string, unknown> {
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name },
    spec: {
      parentRefs: [
        { group: "mesh.wherry.dev", kind: "Service", name: backend, port: 80 },
      ],
      rules: [{ backendRefs: [{ name: backend, port }] }],
    },
  };
}

/** The fields that the causes of a refusal name. */
export function fields({ body }: Answer): string[] {
  const details = body["details"] as
    | { causes: { field: string }[] }
    | undefined;
  return (details?.causes ?? []).map(({ field }) => field);
}

/** As the push port names it. */
function instanceOf({ namespace, name, identity }: SidecarStatus): string {
  return `${namespace}/${name} ${identity}`;
}
