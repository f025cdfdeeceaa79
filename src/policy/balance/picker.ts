/**
 * Chooses the endpoint of an attempt: ready, not ejected, not tried before, and then by the algorithm.
 *
 * ```
 *   endpoints → ready → in at present (eligible.ts) → near enough → not warming up → not yet tried (any if none is left) → algorithm
 *   └────── looked at again on change only ──────┘   └───────────────────────── at each pick ──────────────────────────────────┘
 * ```
 * One that is on probation goes before all that: the next request is its probe. A request with a hash goes by the ring.
 */
import type { MonotonicMs } from "../../core/units.ts";
import type {
  LoadBalancer,
  LoadBalancing,
} from "../../resources/traffic-policy/load-balancing.ts";
import type { LoadReport } from "./load-report.ts";
import { LONGEST_PENALTY } from "../outcome.ts";
import {
  newLoad,
  recordOutcome,
  type Algorithm,
  type Candidate,
  type Load,
} from "./algorithm.ts";
import { eligible, type Ejections, type Eligible } from "./eligible.ts";
import { hashedChoice, type HashedChoice } from "./hashed.ts";
import { leastRequest } from "./least-request.ts";
import { loadAware, recordReport, recordSent } from "./load-aware.ts";
import { INITIAL_LATENCY, peakEwma, recordLatency } from "./peak-ewma.ts";
import { random as randomChoice } from "./random.ts";
import { roundRobin } from "./round-robin.ts";

export interface BalancedEndpoint {
  /** Statistics are kept by it. */
  readonly key: string;
  readonly weight: number;
  readonly ready: boolean;
  /** 0 is nearest. */
  readonly distance: number;
}

export interface BalancerSettings {
  readonly loadBalancer: LoadBalancing<number>;
  /** Where fewer than this share of the ready endpoints are not ejected, ejection is ignored; 0 is off (trap 15). */
  readonly minHealthPercent: number;
}

export interface EndpointPick<E> {
  readonly kind: "endpoint";
  readonly endpoint: E;
  /**
   * Call once for each pick, when the attempt is over. `latency` in milliseconds by `latencyOf`; undefined: it says nothing of the
   * endpoint. `retryAfter`: milliseconds that it asked to be left alone.
   */
  done(
    latency: number | undefined,
    now: MonotonicMs,
    failed?: boolean,
    retryAfter?: number,
  ): void;
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
    now: MonotonicMs,
  ): void;
  /** Endpoints in `exclude` (those already tried) are taken only where there is no other. `hash`: 32 bits that the endpoint is to follow from. */
  pick(now: MonotonicMs, exclude?: ReadonlySet<string>, hash?: number): Pick<E>;
  /** True where an endpoint that is not in `exclude` could be picked. */
  hasOther(now: MonotonicMs, exclude: ReadonlySet<string>): boolean;
  /** Ejection is being ignored because too few would be left. As of the last pick. */
  readonly panic: boolean;
  /** What an endpoint says of its own load; `age` in milliseconds of its newest latency. */
  report(key: string, load: LoadReport, age: number, now: MonotonicMs): void;
  /** For `/clusters`: own requests under way and the latency estimate in milliseconds. */
  loadOf(key: string): Readonly<Load> | undefined;
}

interface Handle<E> extends Candidate, EndpointPick<E> {
  readonly key: string;
  /** Monotonic milliseconds when it joined those that were there. */
  readonly since: number;
  open: boolean;
  /** The one request that an endpoint on probation gets is under way. */
  probing: boolean;
}

const NO_ENDPOINT: NoPick = { kind: "none", reason: "no endpoint" };
const NONE_READY: NoPick = { kind: "none", reason: "no endpoint is ready" };
const ALL_EJECTED: NoPick = { kind: "none", reason: "all are ejected" };

/** Everything follows from the endpoints and settings of the last update; a pick changes nothing but statistics. */
interface Setup<E> {
  readonly ready: readonly Handle<E>[];
  readonly settings: BalancerSettings;
  readonly algorithm: Algorithm;
  readonly hashed: HashedChoice<Handle<E>> | undefined;
  /** Monotonic milliseconds from which on nobody is warming up. */
  readonly warmAt: number;
  readonly nobody: NoPick;
}

export function makeBalancer<E extends BalancedEndpoint>(
  random: () => number,
  ejections: Ejections,
): Balancer<E> {
  let handles = new Map<string, Handle<E>>();
  let setup: Setup<E> | undefined;
  let present: Eligible<Handle<E>> | undefined;
  let seenVersion = -1;
  const scratch: Handle<E>[] = [];

  const look = (
    { ready, settings }: Setup<E>,
    now: MonotonicMs,
  ): Eligible<Handle<E>> => {
    if (
      present !== undefined &&
      now < present.freshUntil &&
      ejections.version === seenVersion
    )
      return present;
    seenVersion = ejections.version;
    present = eligible(
      ready,
      ejections,
      settings.minHealthPercent,
      settings.loadBalancer.localityLbSetting?.enabled === true,
      now,
    );
    return present;
  };

  /** Those that are left where some are excluded, or where some of those that warm up stand back; all where none is left. */
  const narrow = (
    from: readonly Handle<E>[],
    { settings, warmAt }: Setup<E>,
    exclude: ReadonlySet<string> | undefined,
    now: MonotonicMs,
  ): readonly Handle<E>[] => {
    const { warmup } = settings.loadBalancer;
    const warming = warmup !== undefined && now < warmAt;
    if (!warming && (exclude === undefined || exclude.size === 0)) return from;
    scratch.length = 0;
    for (const each of from) {
      if (exclude?.has(each.key) === true) continue;
      if (warming) {
        const share = Math.max(
          warmup.minimumPercent / 100,
          (now - each.since) / warmup.duration,
        );
        if (share < 1 && random() >= share) continue;
      }
      scratch.push(each);
    }
    if (scratch.length > 0) return scratch;
    if (!warming) return from;
    // All of them stood back: those that were tried still do.
    for (const each of from)
      if (exclude?.has(each.key) !== true) scratch.push(each);
    return scratch.length > 0 ? scratch : from;
  };

  const near = ({
    open,
    levels,
  }: Eligible<Handle<E>>): readonly Handle<E>[] => {
    if (levels.length === 0) return open;
    const draw = levels.length === 1 ? 0 : random();
    for (const level of levels) if (draw < level.upTo) return level.members;
    return open;
  };

  const choose = (
    from: Setup<E>,
    who: Eligible<Handle<E>>,
    now: MonotonicMs,
    exclude: ReadonlySet<string> | undefined,
    hash: number | undefined,
  ): Handle<E> | undefined => {
    const { open } = who;
    for (const each of who.probation)
      if (!each.probing && exclude?.has(each.key) !== true) {
        each.probing = true;
        return each;
      }
    if (open.length === 0) return undefined;
    if (hash !== undefined && from.hashed !== undefined)
      return from.hashed.choose(hash, open, exclude);
    let among = near(who);
    // Where all that are near were tried, those that are far are others still.
    if (among !== open && exclude !== undefined && allIn(exclude, among))
      among = open;
    return from.algorithm.choose(narrow(among, from, exclude, now), now);
  };

  return {
    get panic() {
      return present?.panic ?? false;
    },
    loadOf: (key) => handles.get(key)?.load,
    update(endpoints, settings, now) {
      const { loadBalancer } = settings;
      const first = setup === undefined;
      const next = new Map<string, Handle<E>>();
      for (const endpoint of endpoints) {
        const known = handles.get(endpoint.key);
        next.set(
          endpoint.key,
          known?.endpoint === endpoint
            ? known
            : makeHandle(
                endpoint,
                known?.load ?? newLoad(INITIAL_LATENCY, random(), now),
                // Those that are there from the start are no newcomers to each other.
                first
                  ? Number.NEGATIVE_INFINITY
                  : known?.endpoint.ready === true
                    ? known.since
                    : now,
              ),
        );
      }
      handles = next;
      const isReady = [...next.values()].filter((each) => each.endpoint.ready);
      const weighted = isReady.filter((each) => each.endpoint.weight > 0);
      // Weight 0 drains an endpoint, but where all are at 0 nobody can have meant that.
      const ready = weighted.length > 0 ? weighted : isReady;
      const before = setup?.settings.loadBalancer.simple;
      const { consistentHash, warmup, simple } = loadBalancer;
      setup = {
        ready,
        settings,
        algorithm:
          setup !== undefined && before === simple
            ? setup.algorithm
            : makeAlgorithm(simple, random),
        hashed:
          consistentHash === undefined
            ? undefined
            : hashedChoice(ready, consistentHash.hashBalanceFactor ?? 0),
        warmAt:
          warmup === undefined
            ? Number.NEGATIVE_INFINITY
            : ready.reduce(
                (latest, { since }) => Math.max(latest, since),
                Number.NEGATIVE_INFINITY,
              ) + warmup.duration,
        nobody: next.size === 0 ? NO_ENDPOINT : NONE_READY,
      };
      present = undefined;
    },
    pick(now, exclude, hash) {
      if (setup === undefined) return NO_ENDPOINT;
      const picked = choose(setup, look(setup, now), now, exclude, hash);
      if (picked === undefined)
        return setup.ready.length === 0 ? setup.nobody : ALL_EJECTED;
      picked.load.inflight += 1;
      recordSent(picked.load);
      return picked;
    },
    report(key, { inFlight, latency, limit }, age, now) {
      const handle = handles.get(key);
      if (handle !== undefined)
        recordReport(handle.load, inFlight, latency, limit, age, now);
    },
    hasOther(now, exclude) {
      if (setup === undefined) return false;
      const { open, probation } = look(setup, now);
      return (
        open.some(({ key }) => !exclude.has(key)) ||
        probation.some(({ key, probing }) => !probing && !exclude.has(key))
      );
    },
  };
}

function allIn(
  exclude: ReadonlySet<string>,
  handles: readonly { readonly key: string }[],
): boolean {
  return handles.every(({ key }) => exclude.has(key));
}

function makeHandle<E extends BalancedEndpoint>(
  endpoint: E,
  load: Load,
  since: number,
): Handle<E> {
  const handle: Handle<E> = {
    kind: "endpoint",
    key: endpoint.key,
    endpoint,
    weight: Math.max(endpoint.weight, 1e-3),
    load,
    since,
    open: false,
    probing: false,
    done(latency, now, failed = false, retryAfter = 0) {
      load.inflight = Math.max(0, load.inflight - 1);
      handle.probing = false;
      if (latency === undefined) return;
      recordLatency(load, latency, now);
      recordOutcome(load, failed, now);
      if (retryAfter > 0)
        load.hotUntil = now + Math.min(retryAfter, LONGEST_PENALTY);
    },
  };
  return handle;
}

function makeAlgorithm(name: LoadBalancer, random: () => number): Algorithm {
  switch (name) {
    case "PEAK_EWMA":
      return peakEwma(random);
    case "LOAD_AWARE":
      return loadAware(random);
    case "LEAST_REQUEST":
      return leastRequest(random);
    case "ROUND_ROBIN":
      return roundRobin();
    case "RANDOM":
      return randomChoice(random);
  }
}
