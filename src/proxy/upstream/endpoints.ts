/** What one caller keeps of each cluster over all snapshots, by key: balancer, ejections, breaker, limits, and the pool of each endpoint. */
import type { Clock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { makeBalancer, type Balancer } from "../../policy/balance/picker.ts";
import { retryBudget, type RetryBudget } from "../../policy/retry.ts";
import {
  makeOutlierDetector,
  type Ejection,
  type OutlierDetector,
} from "../../policy/outlier.ts";
import type { Cluster, Endpoint, Snapshot } from "../../policy/snapshot.ts";
import type { TrafficSettings } from "../../resources/traffic-policy.ts";
import { DESTINATION } from "../heads.ts";
import { makeField, type Field } from "../../wire/fields.ts";
import type { Meters } from "../meters.ts";
import { Admission } from "./admission.ts";
import {
  makeBreaker,
  startRotation,
  type Breaker,
  type Rotation,
} from "./breaker.ts";
import type { Pool, PoolSettings } from "./pool.ts";
import type { Place, Pools } from "./pools.ts";

export interface ClustersOptions {
  readonly clock: Clock;
  readonly pools: Pools;
  readonly meters: Meters;
  readonly logger: Logger;
}

interface PoolRef {
  readonly endpoint: Endpoint;
  readonly pool: Pool;
  readonly generation: number;
}

/** The state of one cluster. */
export class ClusterState {
  readonly key: string;
  /** `x-wherry-destination` of its streams, encoded once. */
  readonly destination: Field;
  cluster: Cluster;
  readonly balancer: Balancer<Endpoint>;
  readonly detector: OutlierDetector;
  readonly admission: Admission;
  breaker: Breaker;
  budget: RetryBudget;
  poolSettings: PoolSettings;
  readonly #options: ClustersOptions;
  readonly #rotation: Rotation;
  /** Found pools by endpoint: a look-up in place of putting a key together for each request. */
  readonly #pools = new Map<string, PoolRef>();

  constructor(options: ClustersOptions, rotation: Rotation, cluster: Cluster) {
    const { clock } = options;
    const random = (): number => clock.random();
    this.#options = options;
    this.#rotation = rotation;
    this.key = cluster.key;
    this.destination = makeField(DESTINATION, cluster.destination);
    this.cluster = cluster;
    this.detector = makeOutlierDetector(random);
    this.balancer = makeBalancer<Endpoint>(random, this.detector);
    this.admission = new Admission();
    this.breaker = this.#makeBreaker(cluster.settings);
    this.budget = retryBudget(cluster.settings.retryConstraint);
    this.poolSettings = poolSettingsOf(cluster.settings);
    this.#apply(cluster);
  }

  /** Goes over to a newer view of the same cluster; what its settings leave alone keeps its state. */
  update(cluster: Cluster): void {
    const before = this.cluster.settings;
    const after = cluster.settings;
    if (!same(before.circuitBreaker, after.circuitBreaker)) {
      this.breaker.close();
      this.breaker = this.#makeBreaker(after);
      this.#options.meters.breakerState.with(this.key).set(0);
    }
    if (!same(before.retryConstraint, after.retryConstraint))
      this.budget = retryBudget(after.retryConstraint);
    this.poolSettings = poolSettingsOf(after);
    this.cluster = cluster;
    this.#pools.clear();
    this.#apply(cluster);
  }

  /** The connections to `endpoint`. In plaintext a tunnel needs bytes whatever the port speaks, and a request needs HTTP. */
  poolOf(endpoint: Endpoint, tunnel: boolean): Pool {
    const { pools } = this.#options;
    const key = tunnel ? `${endpoint.key} tunnel` : endpoint.key;
    const known = this.#pools.get(key);
    if (known?.endpoint === endpoint && known.generation === pools.generation)
      return known.pool;
    const place = placeOf(this.cluster, endpoint);
    const pool = pools.find(
      place.kind === "link" ? place : spoken(place, tunnel),
      this.poolSettings,
    );
    this.#pools.set(key, { endpoint, pool, generation: pools.generation });
    return pool;
  }

  /** Counts what became of an attempt against its endpoint. */
  record(
    endpoint: string,
    effect: "success" | "failure" | "local-origin",
    now: number,
  ): void {
    const ejection = this.detector.record(endpoint, effect, now);
    if (ejection !== undefined) this.#tell(ejection);
  }

  close(): void {
    this.breaker.close();
    this.#options.meters.breakerState.remove(this.key);
  }

  #apply(cluster: Cluster): void {
    const { settings, endpoints } = cluster;
    this.detector.update(
      endpoints.map(({ key }) => key),
      settings.outlierDetection,
    );
    this.balancer.update(
      endpoints,
      {
        loadBalancer: settings.loadBalancer,
        minHealthPercent: settings.outlierDetection.minHealthPercent,
      },
      this.#options.clock.now(),
    );
    this.admission.configure(cluster);
  }

  #makeBreaker(settings: TrafficSettings): Breaker {
    const { clock, meters, logger } = this.#options;
    return makeBreaker({
      clock,
      rotation: this.#rotation,
      settings: settings.circuitBreaker,
      onState: (state) => {
        meters.breakerState
          .with(this.key)
          .set(state === "open" ? 2 : state === "half-open" ? 1 : 0);
        if (state === "open") meters.breakerOpened.with(this.key).add();
        // Why it opened: what its window holds (law 9).
        const { calls, failures } = this.breaker.window;
        logger.warn(
          { destination: this.key, state, calls, failures },
          "circuit breaker",
        );
      },
    });
  }

  #tell(ejection: Ejection): void {
    const { meters, logger } = this.#options;
    const { endpoint, reason, evidence, at, until, times } = ejection;
    meters.ejections.with(this.key, endpoint, reason).add();
    logger.warn(
      {
        destination: this.key,
        endpoint,
        reason,
        evidence,
        forMs: Math.round(until - at),
        times,
      },
      "endpoint ejected",
    );
  }
}

/** The states of all clusters. */
export interface Clusters {
  of(cluster: Cluster): ClusterState;
  /** Goes over to a snapshot: known clusters are updated, those that are gone are forgotten, and so are their pools. */
  apply(snapshot: Snapshot): void;
  all(): Iterable<ClusterState>;
  close(): void;
}

export function makeClusters(options: ClustersOptions): Clusters {
  const states = new Map<string, ClusterState>();
  const rotation = startRotation(options.clock);
  return {
    of(cluster) {
      let state = states.get(cluster.key);
      if (state === undefined) {
        state = new ClusterState(options, rotation, cluster);
        states.set(cluster.key, state);
      }
      return state;
    },
    apply(snapshot) {
      const present = new Set<string>();
      const places: Place[] = [];
      for (const cluster of snapshot.clusters) {
        present.add(cluster.key);
        // A request that goes on with an older snapshot uses the newest state, never the other way round.
        const state = states.get(cluster.key);
        if (state !== undefined && state.cluster !== cluster)
          state.update(cluster);
        for (const endpoint of cluster.endpoints)
          places.push(placeOf(cluster, endpoint));
      }
      for (const [key, state] of states) {
        if (present.has(key)) continue;
        state.close();
        states.delete(key);
      }
      options.pools.retain(places);
    },
    all: () => states.values(),
    close() {
      for (const state of states.values()) state.close();
      states.clear();
      rotation.close();
    },
  };
}

/** A workload that registered a link is called over the link, always (design: the link). */
export function placeOf(cluster: Cluster, endpoint: Endpoint): Place {
  const { address, port, link, identity } = endpoint;
  if (link !== undefined)
    return {
      kind: "link",
      address,
      port: link,
      // Without an identity to expect nothing can be proved: no SPIFFE id equals the empty one.
      identity: identity ?? "",
    };
  return { kind: "plain", address, port, protocol: plainProtocolOf(cluster) };
}

function spoken(
  place: Extract<Place, { kind: "plain" }>,
  tunnel: boolean,
): Place {
  if (tunnel) return { ...place, protocol: "tcp" };
  return place.protocol === "tcp" ? { ...place, protocol: "http/1.1" } : place;
}

export function plainProtocolOf({
  appProtocol,
}: Pick<Cluster, "appProtocol">): "http/1.1" | "h2" | "tcp" {
  switch (appProtocol) {
    case "http":
      return "http/1.1";
    case "http2":
    case "grpc":
      return "h2";
    case "tcp":
    case "tls":
      return "tcp";
  }
}

export function poolSettingsOf(settings: TrafficSettings): PoolSettings {
  const { tcp, http } = settings.connectionPool;
  return {
    idleTimeout: http.idleTimeout,
    multiplexedIdleTimeout: tcp.idleTimeout,
    maxRequestsPerConnection: http.maxRequestsPerConnection,
    connectTimeout: tcp.connectTimeout,
  };
}

const hostPorts = new WeakMap<Endpoint, string>();

/** Where connections to it go, "10.0.0.7:15008": the same text each time, which the access log finds again without reading it. */
export function hostPortOf(endpoint: Endpoint): string {
  let text = hostPorts.get(endpoint);
  if (text === undefined) {
    text = `${endpoint.address}:${endpoint.link ?? endpoint.port}`;
    hostPorts.set(endpoint, text);
  }
  return text;
}

export function noEndpoint(cluster: Cluster, reason: string): MeshError {
  return new MeshError("NO_ENDPOINT", `${cluster.key}: ${reason}`, {
    source: "proxy",
    unprocessed: true,
  });
}

/** Settings are plain data, so equal text is equal settings. */
function same(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}
