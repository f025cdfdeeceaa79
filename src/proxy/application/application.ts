/** The local application: its pools on loopback, in HTTP/1.1, HTTP/2 or bytes as its port is declared. */
import type { Clock } from "../../core/clock.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import { MeshError } from "../../mesh/errors.ts";
import type { Code } from "../../mesh/reasons.ts";
import type {
  ApplicationTls,
  Protection,
  InboundPort,
  Snapshot,
} from "../../policy/snapshot.ts";
import type { ReadRequest, RequestFacts } from "../../policy/path.ts";
import {
  isRepeatable,
  retryBudget,
  type RetryBudget,
  type RetryPolicy,
} from "../../policy/retry.ts";
import { TRAFFIC_DEFAULTS } from "../../resources/traffic-policy/settings.ts";
import type { ServerStream } from "../../wire/exchange.ts";
import { fieldValue, type Fields } from "../../wire/fields.ts";
import { ATTEMPT } from "../exchange/heads.ts";
import type { LoadReports, RequestLoad } from "./load-reports.ts";
import type { Target, RoutePlan } from "../exchange/route-plan.ts";
import {
  ApplicationTarget,
  loadFields,
  type RequestCounts,
} from "./application-target.ts";
import { DirectPlan } from "../upstream/direct-plan.ts";
import { plainProtocolOf, poolSettingsOf } from "../upstream/cluster/places.ts";
import type {
  Entry,
  ConcurrencyLimiter,
  ConcurrencyLimiters,
} from "./concurrency-limiter.ts";
import type { Pool } from "../upstream/pool/pool.ts";
import type { Pools } from "../upstream/pool/pools.ts";

export interface Application {
  /** `left`: milliseconds above 0 that the caller's sidecar has left for it; undefined: no limit. */
  http(
    snapshot: Snapshot,
    port: InboundPort,
    read: Extract<ReadRequest, { ok: true }>,
    stream: ServerStream,
    left: number | undefined,
  ): RoutePlan;
  tunnel(port: InboundPort, stream: ServerStream): RoutePlan;
}

export interface ApplicationOptions {
  readonly clock: Clock;
  /** That share the retry budget. */
  readonly workers: number;
  readonly pools: Pools;
  readonly loads: LoadReports;
  readonly concurrencyLimiters: ConcurrencyLimiters;
  /** Where the application listens: "127.0.0.1", unless it binds another address alone. */
  readonly address: string;
}

/**
 * A stale keep-alive connection is this hop's own affair and is repeated here, at once; everything else is for the caller's sidecar
 * to judge, which knows other instances.
 */
const RETRY: RetryPolicy = {
  attempts: 1,
  on: new Set(["reset-before-request", "reset-reused-connection"]),
  codes: new Set(),
  backoff: { minimum: 0, base: 0, max: 0 },
};

type Protocol = "http/1.1" | "h2" | "tcp";

interface KnownPool {
  readonly pool: Pool;
  readonly protocol: Protocol;
  readonly generation: number;
  readonly tls: ApplicationTls | undefined;
}

const SETTINGS = poolSettingsOf(TRAFFIC_DEFAULTS);

export function makeApplication(options: ApplicationOptions): Application {
  return new LocalApplication(options);
}

/** What a plan has of the request that it is for. */
interface Planned {
  readonly protocol: Protocol;
  readonly path: string;
  readonly target: string;
  readonly streamIdle: number;
  readonly repeatable: boolean;
  readonly left: number | undefined;
  readonly counts: RequestCounts | undefined;
}

class LocalApplication implements Application {
  readonly #options: ApplicationOptions;
  readonly #budget: RetryBudget;
  // Found by the port's number: a key put together of texts for each request costs more than the rest of the way.
  readonly #known = new Map<number, KnownPool>();

  constructor(options: ApplicationOptions) {
    this.#options = options;
    this.#budget = retryBudget(
      TRAFFIC_DEFAULTS.retryConstraint,
      options.workers,
    );
  }

  http(
    snapshot: Snapshot,
    port: InboundPort,
    { facts, target }: Extract<ReadRequest, { ok: true }>,
    stream: ServerStream,
    left: number | undefined,
  ): RoutePlan {
    const { clock, loads, concurrencyLimiters } = this.#options;
    const { protection } = port;
    const { mode } = protection.concurrency;
    return this.#plan(port, stream, {
      protocol: httpProtocolOf(port),
      path: facts.path,
      target,
      streamIdle: snapshot.mesh.defaults.timeouts.streamIdle,
      repeatable: isRepeatable(facts),
      left,
      counts: countsOf(
        clock,
        loads.of(port.targetPort, stream),
        mode === "OFF"
          ? undefined
          : concurrencyLimiters.of(port.targetPort, protection.concurrency),
        mode === "ENFORCE"
          ? entryOf(protection, facts, stream, clock, left)
          : undefined,
      ),
    });
  }

  tunnel(port: InboundPort, stream: ServerStream): RoutePlan {
    return this.#plan(port, stream, {
      protocol: "tcp",
      path: "",
      target: "",
      streamIdle: TRAFFIC_DEFAULTS.connectionPool.tcp.idleTimeout,
      repeatable: false,
      left: undefined,
      counts: undefined,
    });
  }

  #plan(port: InboundPort, stream: ServerStream, planned: Planned): RoutePlan {
    const { counts } = planned;
    return new DirectPlan({
      destination: port.key,
      path: planned.path,
      target: planned.target,
      authority: stream.head.authority,
      pool: this.#poolOf(port, planned.protocol),
      secure: port.protection.tls !== undefined,
      address: formatHostPort(this.#options.address, port.targetPort),
      streamIdle: planned.streamIdle,
      retry: RETRY,
      budget: this.#budget,
      repeatable: planned.repeatable,
      around:
        counts && ((direct): Target => new ApplicationTarget(direct, counts)),
      responseFields: counts && ((): Fields => loadFields(counts)),
      inside: stream.connection.peer !== undefined,
      callee: true,
      dialogues: planned.protocol === "h2",
      left: planned.left,
      connectError: unreachable,
    });
  }

  #poolOf(
    { targetPort: port, protection: { tls } }: InboundPort,
    protocol: Protocol,
  ): Pool {
    const { pools, address } = this.#options;
    const { generation } = pools;
    const found = this.#known.get(port);
    if (
      found?.protocol === protocol &&
      found.generation === generation &&
      found.tls === tls
    )
      return found.pool;
    const place = { address, port, protocol };
    const pool = pools.find(
      tls === undefined
        ? { kind: "plain", ...place }
        : {
            kind: "tls",
            ...place,
            tls: tls.settings,
            serverName: tls.serverName,
          },
      SETTINGS,
    );
    this.#known.set(port, { pool, protocol, generation, tls });
    return pool;
  }
}

/** Undefined where nothing is to be counted. */
function countsOf(
  clock: Clock,
  load: RequestLoad | undefined,
  limiter: ConcurrencyLimiter | undefined,
  entry: Entry | undefined,
): RequestCounts | undefined {
  return load === undefined && limiter === undefined
    ? undefined
    : { clock, load, limiter, entry };
}

function entryOf(
  { priority, concurrencyPolicy }: Protection,
  facts: RequestFacts,
  { head, connection }: ServerStream,
  clock: Clock,
  left: number | undefined,
): Entry {
  return {
    policy: concurrencyPolicy,
    priority: priority?.(connection.peer, facts, clock.wall()),
    // A peer's sidecar says so: what applications say of it is removed there, and what strangers say here.
    retry: fieldValue(head.fields, ATTEMPT) !== undefined,
    inside: connection.peer !== undefined,
    left,
  };
}

/** HTTP that comes to a port that is declared as bytes goes on as HTTP/1.1, which every such port that speaks HTTP knows. */
function httpProtocolOf(port: InboundPort): "http/1.1" | "h2" {
  return plainProtocolOf(port) === "h2" ? "h2" : "http/1.1";
}

/** Failures to connect that say nothing of the application. */
const NOT_THE_APPLICATION: ReadonlySet<Code> = new Set([
  "INTERNAL",
  "MACHINE_ERROR",
  "STREAM_REFUSED",
]);

/** To the caller's sidecar: nothing was processed, and another instance may do (model: which outcome counts where). */
function unreachable(error: MeshError): MeshError {
  if (NOT_THE_APPLICATION.has(error.code)) return error;
  return new MeshError("APPLICATION_UNREACHABLE", error.message, {
    source: "upstream",
    unprocessed: true,
    cause: error,
  });
}
