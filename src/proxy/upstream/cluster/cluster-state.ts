/** What one caller keeps of a cluster over all snapshots: balancer, ejections, breaker, limits, and the pool of each endpoint. */
import type { Cancel, Clock } from "../../../core/clock.ts";
import {
  LOCAL_STATE,
  type SharedState,
} from "../../../core/shared/shared-state.ts";
import type { Logger } from "../../../core/log.ts";
import { makeBalancer, type Balancer } from "../../../policy/balance/picker.ts";
import { parseLoad } from "../../../policy/balance/load-report.ts";
import {
  makeOutlierDetector,
  type Ejection,
  type EjectionReason,
  type OutlierDetector,
} from "../../../policy/outlier.ts";
import { retryBudget, type RetryBudget } from "../../../policy/retry.ts";
import type { Cluster, Endpoint } from "../../../policy/snapshot.ts";
import type { TrafficSettings } from "../../../resources/traffic-policy/settings.ts";
import {
  fieldValue,
  makeField,
  type Field,
  type Fields,
} from "../../../wire/fields.ts";
import { decodeLoadNotice } from "../../../wire/load-notice.ts";
import { DESTINATION, LOAD } from "../../exchange/heads.ts";
import type { Meters } from "../../../telemetry/meters.ts";
import type { PoolLimits } from "./pool-limits.ts";
import { makeBreaker, type Breaker, type Rotation } from "./breaker.ts";
import { Asker } from "./ask.ts";
import { checkEndpoint } from "./health-check.ts";
import { makeHealth, type Health } from "./health.ts";
import { Evidence } from "./evidence.ts";
import {
  makeEjectionHistory,
  type EjectionHistory,
  type EjectionHistoryEntry,
} from "./ejection-history.ts";
import { Exclusion } from "./exclusion.ts";
import { hedgeState, type HedgeState } from "./hedge.ts";
import type { PoolSettings } from "../pool/options.ts";
import type { Pool } from "../pool/pool.ts";
import { Admission } from "./admission.ts";
import type { Pools } from "../pool/pools.ts";
import { poolLimitsOf } from "./shared-pool-limits.ts";

import { placeOf, poolSettingsOf, spoken } from "./places.ts";
import type { StallTicks } from "./stall-ticks.ts";
import { StallWatch } from "./stall-watch.ts";
export interface ClustersOptions {
  readonly clock: Clock;
  /** Absent: this worker is the only one. */
  readonly sharedState?: SharedState;
  readonly pools: Pools;
  readonly meters: Meters;
  readonly logger: Logger;
}

/** The ticks that all clusters share. */
export interface ClusterTicks {
  readonly rotation: Rotation;
  readonly ticks: StallTicks;
}

interface PoolRef {
  readonly endpoint: Endpoint;
  readonly pool: Pool;
  readonly generation: number;
  /** Ends what is heard of the endpoint. */
  readonly unlisten: Cancel;
}

/** The state of one cluster. */
export class ClusterState {
  readonly key: string;
  /** `x-wherry-destination` of its streams, encoded once. */
  readonly destination: Field;
  cluster: Cluster;
  readonly balancer: Balancer<Endpoint>;
  readonly detector: OutlierDetector;
  readonly health: Health;
  readonly evidence: Evidence = new Evidence();
  /** Whether its endpoints go on responding. */
  readonly stalls: StallWatch;
  readonly ejectionHistory: EjectionHistory = makeEjectionHistory();
  readonly poolLimits: PoolLimits;
  breaker: Breaker;
  budget: RetryBudget;
  poolSettings: PoolSettings;
  /** Which priorities its endpoints admit; undefined where all requests are equal. */
  admission: Admission | undefined;
  /** Where slow requests are sent twice. */
  hedging: HedgeState | undefined;
  /** Its endpoints are asked how busy they are. */
  loadAware = false;
  readonly #options: ClustersOptions;
  readonly #rotation: Rotation;
  /** Found pools by endpoint: a look-up in place of putting a key together for each request. */
  readonly #pools = new Map<string, PoolRef>();

  constructor(
    options: ClustersOptions,
    { rotation, ticks }: ClusterTicks,
    cluster: Cluster,
  ) {
    const { clock, sharedState = LOCAL_STATE } = options;
    const random = (): number => clock.random();
    this.#options = options;
    this.#rotation = rotation;
    this.key = cluster.key;
    this.destination = makeField(DESTINATION, cluster.destination);
    this.cluster = cluster;
    this.detector = makeOutlierDetector(random);
    this.health = makeHealth({
      clock,
      check: (endpoint, settings, signal) =>
        checkEndpoint({
          cluster: this.cluster,
          endpoint,
          settings,
          pool: (tunnel) => this.poolOf(endpoint, tunnel),
          signal,
        }),
      onChange: (endpoint, healthy, evidence) =>
        this.#tellHealth(endpoint, healthy, evidence),
    });
    this.balancer = makeBalancer<Endpoint>(
      random,
      new Exclusion(this.detector, this.health, () => this.stalls),
    );
    this.stalls = new StallWatch({
      clock,
      ticks,
      detector: this.detector,
      callsOf: (key) => this.balancer.loadOf(key)?.calls,
      asker: new Asker({
        cluster: () => this.cluster,
        poolOf: (endpoint, tunnel) => this.poolOf(endpoint, tunnel),
        isOut: (key) => this.detector.isHeld(key),
        onResponse: (key) => this.evidence.record(key, "success", clock.now()),
      }),
      eject: (key, reason, evidence) => this.eject(key, reason, evidence),
    });
    this.poolLimits = poolLimitsOf(sharedState, clock, cluster.key);
    this.breaker = this.#makeBreaker(cluster.settings);
    this.budget = this.#makeBudget(cluster.settings);
    this.poolSettings = poolSettingsOf(cluster.settings);
    this.admission = admissionOf(cluster);
    this.hedging = hedgeState(cluster, options.meters);
    this.#apply(cluster);
  }

  /** Goes over to a newer view of the same cluster; what its settings leave alone keeps its state. */
  update(cluster: Cluster): void {
    const before = this.cluster.settings;
    const after = cluster.settings;
    if (!same(before.circuitBreaker, after.circuitBreaker)) {
      this.breaker.close();
      this.breaker = this.#makeBreaker(after);
    }
    if (!same(before.retryConstraint, after.retryConstraint))
      this.budget = this.#makeBudget(after);
    if (!same(before.priority, after.priority))
      this.admission = admissionOf(cluster);
    if (!same(before.hedging, after.hedging))
      this.hedging = hedgeState(cluster, this.#options.meters);
    this.admission?.retain(new Set(cluster.endpoints.map(({ key }) => key)));
    this.poolSettings = poolSettingsOf(after);
    this.cluster = cluster;
    this.#forgetPools();
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
    known?.unlisten();
    this.#pools.set(key, {
      endpoint,
      pool,
      generation: pools.generation,
      unlisten: this.#listen(pool, endpoint, tunnel),
    });
    return pool;
  }

  /** A peer of the link is believed, and has to acknowledge a PING. */
  #listen(pool: Pool, endpoint: Endpoint, tunnel: boolean): Cancel {
    if (endpoint.link === undefined) return notListening;
    const ignoreDeaths = pool.onDead((evidence) =>
      this.eject(endpoint.key, "silent-link", evidence),
    );
    // A tunnel's bytes do not measure load.
    if (!this.loadAware || tunnel) return ignoreDeaths;
    const ignoreNotices = pool.listen((notice) =>
      this.#noticed(endpoint, notice),
    );
    return () => {
      ignoreDeaths();
      ignoreNotices();
    };
  }

  /** Takes what the endpoint's response says of its load. */
  answered(endpoint: string, fields: Fields): void {
    const text = fieldValue(fields, LOAD);
    const load = text === undefined ? undefined : parseLoad(text);
    if (load !== undefined)
      this.balancer.report(endpoint, load, 0, this.#options.clock.now());
  }

  #noticed(endpoint: Endpoint, notice: Buffer): void {
    const load = decodeLoadNotice(notice);
    if (load?.port !== endpoint.port) return;
    const now = this.#options.clock.now();
    this.balancer.report(endpoint.key, load, load.age, now);
  }

  /** Counts what became of an attempt against its endpoint. */
  record(
    endpoint: string,
    effect: "success" | "failure" | "local-origin",
    sentAt: number,
    now: number = this.#options.clock.now(),
  ): void {
    this.evidence.record(endpoint, effect, now);
    this.#ejected(this.detector.record(endpoint, effect, now, sentAt));
  }

  /** Takes the endpoint out on evidence that is enough by itself, as far as the cap on ejections allows it. */
  eject(endpoint: string, reason: EjectionReason, evidence: string): void {
    const now = this.#options.clock.now();
    // Where an application stalls its sidecar is there.
    if (reason !== "stalled")
      this.evidence.record(endpoint, "local-origin", now);
    this.#ejected(this.detector.eject(endpoint, reason, evidence, now));
  }

  #ejected(ejection: Ejection | undefined): void {
    if (ejection === undefined) return;
    this.#tell({ kind: "ejection", ...ejection });
    this.stalls.ejected(ejection.endpoint, ejection.at);
  }

  close(): void {
    this.health.close();
    this.stalls.close();
    this.#forgetPools();
    this.breaker.close();
    this.poolLimits.close();
    this.#options.meters.breakerState.remove(this.key);
  }

  #forgetPools(): void {
    for (const { unlisten } of this.#pools.values()) unlisten();
    this.#pools.clear();
  }

  #apply(cluster: Cluster): void {
    const { settings, endpoints } = cluster;
    this.loadAware = settings.loadBalancer.simple === "LOAD_AWARE";
    this.detector.update(
      endpoints.map(({ key }) => key),
      settings.outlierDetection,
    );
    this.health.update(endpoints, settings.healthCheck);
    this.evidence.update(endpoints);
    this.balancer.update(
      endpoints,
      {
        loadBalancer: settings.loadBalancer,
        minHealthPercent: settings.outlierDetection.minHealthPercent,
      },
      this.#options.clock.now(),
    );
    this.stalls.update(endpoints);
    this.poolLimits.configure(cluster);
  }

  #makeBudget({ retryConstraint }: TrafficSettings): RetryBudget {
    const { sharedState = LOCAL_STATE } = this.#options;
    return retryBudget(retryConstraint, sharedState.workers);
  }

  #makeBreaker(settings: TrafficSettings): Breaker {
    const { clock, meters, logger } = this.#options;
    return makeBreaker({
      clock,
      rotation: this.#rotation,
      settings: settings.circuitBreaker,
      onState: (state) => {
        if (state === "open") meters.breakerOpened.with(this.key).add();
        // Why it opened: what its window holds (law 9).
        const { calls, failures } = this.breaker.window;
        if (state === "open") this.#noteBreak(calls, failures);
        logger.warn(
          { destination: this.key, state, calls, failures },
          "circuit breaker",
        );
      },
    });
  }

  #noteBreak(calls: number, failures: number): void {
    const now = this.#options.clock.now();
    this.ejectionHistory.add({
      kind: "break",
      endpoint: undefined,
      reason: "error-rate",
      evidence: `${failures} of ${calls} calls failed`,
      at: now,
      until: now + this.breaker.retryAfter,
      times: 1,
    });
  }

  #tellHealth(endpoint: string, healthy: boolean, evidence: string): void {
    const { clock, logger } = this.#options;
    if (healthy) {
      logger.info(
        { destination: this.key, endpoint, evidence },
        "endpoint is well again",
      );
      return;
    }
    this.#tell({
      kind: "ejection",
      endpoint,
      reason: "health-check",
      evidence,
      at: clock.now(),
      until: Number.POSITIVE_INFINITY,
      times: 1,
    });
  }

  #tell(ejection: EjectionHistoryEntry): void {
    const { meters, logger } = this.#options;
    const { endpoint = "", reason, evidence, at, until, times } = ejection;
    this.ejectionHistory.add(ejection);
    meters.ejections.with(this.key, endpoint, reason).add();
    logger.warn(
      {
        destination: this.key,
        endpoint,
        reason,
        evidence,
        forMs: Number.isFinite(until) ? Math.round(until - at) : undefined,
        times,
      },
      "endpoint ejected",
    );
  }
}

/** Undefined where no policy asks for it, so that nothing of it is on the way. */
function admissionOf({ key, settings }: Cluster): Admission | undefined {
  return settings.priority === undefined
    ? undefined
    : new Admission(key, settings.priority);
}

function notListening(): void {
  // There is nothing to end.
}

/** Settings are plain data, so equal text is equal settings. */
function same(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}
