/**
 * Chooses the endpoint of an attempt: ready, not ejected, not tried before, and then by the algorithm.
 *
 * ```
 *   endpoints → ready → not ejected (all ready ones in panic) → not yet tried (any if none is left) → algorithm
 *   └────────── looked at again on change only ────────────┘   └───────────── at each pick ──────────────────┘
 * ```
 */
import type { LoadBalancer } from "../../resources/traffic-policy.ts";
import type { Algorithm, Candidate, Load } from "./algorithm.ts";
import { leastRequest } from "./least-request.ts";
import { INITIAL_LATENCY, peakEwma, recordLatency } from "./peak-ewma.ts";
import { random as randomChoice } from "./random.ts";
import { roundRobin } from "./round-robin.ts";

export interface BalancedEndpoint {
  /** Statistics are kept by it. */
  readonly key: string;
  readonly weight: number;
  readonly ready: boolean;
}

export interface BalancerSettings {
  readonly loadBalancer: LoadBalancer;
  /** Where fewer than this share of the ready endpoints are not ejected, ejection is ignored; 0 is off (trap 15). */
  readonly minHealthPercent: number;
}

/** What a picker must know of ejections; `OutlierDetector` satisfies it. */
export interface Ejections {
  readonly version: number;
  /** Monotonic milliseconds until which the endpoint is out. */
  until(key: string): number;
}

export interface EndpointPick<E> {
  readonly kind: "endpoint";
  readonly endpoint: E;
  /** Call once for each pick, when the attempt is over. `latency` in milliseconds by `latencyOf`; undefined: no sample. */
  done(latency: number | undefined, now: number): void;
}

export interface NoPick {
  readonly kind: "none";
  readonly reason: "no endpoint" | "no endpoint is ready" | "all are ejected";
}

export type Pick<E> = EndpointPick<E> | NoPick;

export interface Balancer<E extends BalancedEndpoint> {
  /** Replaces the endpoints; those of a known key keep their statistics. A change of algorithm keeps all. */
  update(
    endpoints: readonly E[],
    settings: BalancerSettings,
    now: number,
  ): void;
  /** Endpoints in `exclude` (those already tried) are taken only where there is no other. */
  pick(now: number, exclude?: ReadonlySet<string>): Pick<E>;
  /** True where an endpoint that is not in `exclude` could be picked. */
  hasOther(now: number, exclude: ReadonlySet<string>): boolean;
  /** Ejection is being ignored because too few would be left. As of the last pick. */
  readonly panic: boolean;
  /** For `/clusters`: own requests under way and the latency estimate in milliseconds. */
  loadOf(key: string): Readonly<Load> | undefined;
}

interface Handle<E> extends Candidate, EndpointPick<E> {
  readonly key: string;
}

const NO_ENDPOINT: NoPick = { kind: "none", reason: "no endpoint" };
const NONE_READY: NoPick = { kind: "none", reason: "no endpoint is ready" };
const ALL_EJECTED: NoPick = { kind: "none", reason: "all are ejected" };

export function makeBalancer<E extends BalancedEndpoint>(
  random: () => number,
  ejections: Ejections,
): Balancer<E> {
  let handles = new Map<string, Handle<E>>();
  let ready: Handle<E>[] = [];
  let minHealthPercent = 0;
  let algorithm: { name: LoadBalancer; run: Algorithm } | undefined;
  let nobody: NoPick = NO_ENDPOINT;
  // What follows is worked out by `refresh` and holds until the ejections change or one of them ends.
  let candidates: Handle<E>[] = [];
  let panic = false;
  let seenVersion = -1;
  let freshUntil = Number.NEGATIVE_INFINITY;
  const scratch: Handle<E>[] = [];

  const refresh = (now: number): void => {
    seenVersion = ejections.version;
    freshUntil = Number.POSITIVE_INFINITY;
    candidates = ready.filter(({ key }) => {
      const until = ejections.until(key);
      if (until <= now) return true;
      freshUntil = Math.min(freshUntil, until);
      return false;
    });
    panic =
      candidates.length < ready.length &&
      candidates.length * 100 < ready.length * minHealthPercent;
    if (panic) candidates = ready;
  };

  const fresh = (now: number): readonly Handle<E>[] => {
    if (now >= freshUntil || ejections.version !== seenVersion) refresh(now);
    return candidates;
  };

  return {
    get panic() {
      return panic;
    },
    loadOf: (key) => handles.get(key)?.load,
    update(endpoints, settings, now) {
      const next = new Map<string, Handle<E>>();
      for (const endpoint of endpoints) {
        const known = handles.get(endpoint.key);
        next.set(
          endpoint.key,
          known?.endpoint === endpoint
            ? known
            : makeHandle(endpoint, known?.load ?? newLoad(random, now)),
        );
      }
      handles = next;
      const isReady = [...next.values()].filter((each) => each.endpoint.ready);
      const weighted = isReady.filter((each) => each.endpoint.weight > 0);
      // Weight 0 drains an endpoint, but where all are at 0 nobody can have meant that.
      ready = weighted.length > 0 ? weighted : isReady;
      nobody = next.size === 0 ? NO_ENDPOINT : NONE_READY;
      minHealthPercent = settings.minHealthPercent;
      if (algorithm?.name !== settings.loadBalancer)
        algorithm = {
          name: settings.loadBalancer,
          run: makeAlgorithm(settings.loadBalancer, random),
        };
      freshUntil = Number.NEGATIVE_INFINITY;
    },
    pick(now, exclude) {
      let from = fresh(now);
      if (from.length === 0 || algorithm === undefined)
        return ready.length === 0 ? nobody : ALL_EJECTED;
      if (exclude !== undefined && exclude.size > 0) {
        scratch.length = 0;
        for (const each of from) if (!exclude.has(each.key)) scratch.push(each);
        if (scratch.length > 0) from = scratch;
      }
      const picked = algorithm.run.choose(from, now);
      picked.load.inflight += 1;
      return picked;
    },
    hasOther: (now, exclude) =>
      fresh(now).some((each) => !exclude.has(each.key)),
  };
}

function makeHandle<E extends BalancedEndpoint>(
  endpoint: E,
  load: Load,
): Handle<E> {
  return {
    kind: "endpoint",
    key: endpoint.key,
    endpoint,
    weight: Math.max(endpoint.weight, 1e-3),
    load,
    done(latency, now) {
      load.inflight = Math.max(0, load.inflight - 1);
      if (latency !== undefined) recordLatency(load, latency, now);
    },
  };
}

function newLoad(random: () => number, now: number): Load {
  return {
    inflight: 0,
    latency: INITIAL_LATENCY,
    updatedAt: now,
    // Under one turn: clients that start together do not all begin with the same endpoint.
    turn: random(),
  };
}

function makeAlgorithm(name: LoadBalancer, random: () => number): Algorithm {
  switch (name) {
    case "PEAK_EWMA":
      return peakEwma(random);
    case "LEAST_REQUEST":
      return leastRequest(random);
    case "ROUND_ROBIN":
      return roundRobin();
    case "RANDOM":
      return randomChoice(random);
  }
}
