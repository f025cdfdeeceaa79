/**
 * Chooses the endpoint of an attempt: ready, not ejected, not tried before, and then by the algorithm.
 *
 * ```
 *   endpoints → ready → in at present, confirmed (eligible.ts) → near enough → not warming up → not yet tried (any if none is left) → algorithm
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
import { newLoad, NO_TRIAL, type Algorithm, type Load } from "./algorithm.ts";
import { eligible, type Ejections, type Eligible } from "./eligible.ts";
import { makeHandle, type Handle } from "./handle.ts";
import { hashedChoice, type HashedChoice } from "./hashed.ts";
import { leastRequest } from "./least-request.ts";
import { loadAware, recordReport, recordSent } from "./load-aware.ts";
import { INITIAL_LATENCY, peakEwma } from "./peak-ewma.ts";
import { random as randomChoice } from "./random.ts";
import { roundRobin } from "./round-robin.ts";

export interface BalancedEndpoint {
  /** Statistics are kept by it. */
  readonly key: string;
  readonly weight: number;
  readonly ready: boolean;
  /** 0 is nearest. */
  readonly distance: number;
  /** Nobody knows whether it still runs: others are taken first, but for a request with a hash, which stays where it is. */
  readonly unconfirmed?: true | undefined;
}

export interface BalancerSettings {
  readonly loadBalancer: LoadBalancing<number>;
  /** Where fewer than this share of the ready endpoints are not ejected, ejection is ignored; 0 is off (trap 15). */
  readonly minHealthPercent: number;
}

export interface EndpointPick<E> {
  readonly kind: "endpoint";
  readonly endpoint: E;
  readonly load: Load;
  /** It is on probation, and this request its trial. */
  readonly probing: boolean;
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
  /** `repeatable`: the request may try an endpoint on probation, for a sibling can have it as well; true unless given. */
  pick(
    now: MonotonicMs,
    exclude?: ReadonlySet<string>,
    hash?: number,
    repeatable?: boolean,
  ): Pick<E>;
  /** True where an endpoint that is not in `exclude` could be picked. */
  hasOther(now: MonotonicMs, exclude: ReadonlySet<string>): boolean;
  /** Ejection is being ignored because too few would be left. As of the last pick. */
  readonly panic: boolean;
  /** What an endpoint says of its own load; `age` in milliseconds of its newest latency. */
  report(key: string, load: LoadReport, age: number, now: MonotonicMs): void;
  /** For `/clusters`: own requests in flight and the latency estimate in milliseconds. */
  loadOf(key: string): Readonly<Load> | undefined;
}

/** Milliseconds after which another request is a trial as well: a stream, or a slow upload, may have no response for hours. */
const LONGEST_TRIAL = 10_000;

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
  return new Picker<E>(random, ejections);
}

class Picker<E extends BalancedEndpoint> implements Balancer<E> {
  readonly #random: () => number;
  readonly #ejections: Ejections;
  #handles = new Map<string, Handle<E>>();
  #setup: Setup<E> | undefined;
  #present: Eligible<Handle<E>> | undefined;
  #seenVersion = -1;
  /** What a pick narrows its candidates to; used again by the next one. */
  readonly #scratch: Handle<E>[] = [];

  constructor(random: () => number, ejections: Ejections) {
    this.#random = random;
    this.#ejections = ejections;
  }

  get panic(): boolean {
    return this.#present?.panic ?? false;
  }

  loadOf(key: string): Readonly<Load> | undefined {
    return this.#handles.get(key)?.load;
  }

  update(
    endpoints: readonly E[],
    settings: BalancerSettings,
    now: MonotonicMs,
  ): void {
    this.#handles = this.#nextHandles(endpoints, now);
    const ready = weightedReady(this.#handles);
    const { consistentHash, warmup, simple } = settings.loadBalancer;
    const before = this.#setup;
    this.#setup = {
      ready,
      settings,
      algorithm:
        before?.settings.loadBalancer.simple === simple
          ? before.algorithm
          : makeAlgorithm(simple, this.#random),
      hashed:
        consistentHash === undefined
          ? undefined
          : hashedChoice(ready, consistentHash.hashBalanceFactor ?? 0),
      warmAt:
        warmup === undefined
          ? Number.NEGATIVE_INFINITY
          : newest(ready) + warmup.duration,
      nobody: this.#handles.size === 0 ? NO_ENDPOINT : NONE_READY,
    };
    this.#present = undefined;
  }

  pick(
    now: MonotonicMs,
    exclude?: ReadonlySet<string>,
    hash?: number,
    repeatable = true,
  ): Pick<E> {
    const setup = this.#setup;
    if (setup === undefined) return NO_ENDPOINT;
    const who = this.#eligible(setup, now);
    const picked =
      (who.probation.length === 0
        ? undefined
        : this.#tried(who.probation, exclude, repeatable, now)) ??
      this.#choose(setup, who, now, exclude, hash);
    if (picked === undefined)
      return setup.ready.length === 0 ? setup.nobody : ALL_EJECTED;
    picked.load.inflight += 1;
    recordSent(picked.load);
    return picked;
  }

  report(key: string, load: LoadReport, age: number, now: MonotonicMs): void {
    const handle = this.#handles.get(key);
    if (handle === undefined) return;
    const { inFlight, latency, limit } = load;
    recordReport(handle.load, inFlight, latency, limit, age, now);
  }

  hasOther(now: MonotonicMs, exclude: ReadonlySet<string>): boolean {
    if (this.#setup === undefined) return false;
    const { open, probation } = this.#eligible(this.#setup, now);
    return (
      open.some(({ key }) => !exclude.has(key)) ||
      probation.some(
        ({ key, load }) => load.triedAt === NO_TRIAL && !exclude.has(key),
      )
    );
  }

  #nextHandles(
    endpoints: readonly E[],
    now: MonotonicMs,
  ): Map<string, Handle<E>> {
    const next = new Map<string, Handle<E>>();
    for (const endpoint of endpoints) {
      const known = this.#handles.get(endpoint.key);
      next.set(
        endpoint.key,
        known?.endpoint === endpoint
          ? known
          : makeHandle(
              endpoint,
              known?.load ?? newLoad(INITIAL_LATENCY, this.#random(), now),
              this.#since(known, now),
            ),
      );
    }
    return next;
  }

  #since(known: Handle<E> | undefined, now: MonotonicMs): number {
    // Endpoints of the first update are not newcomers to each other.
    if (this.#setup === undefined) return Number.NEGATIVE_INFINITY;
    return known?.endpoint.ready === true ? known.since : now;
  }

  #eligible(
    { ready, settings }: Setup<E>,
    now: MonotonicMs,
  ): Eligible<Handle<E>> {
    const { version } = this.#ejections;
    if (
      this.#present !== undefined &&
      now < this.#present.freshUntil &&
      version === this.#seenVersion
    )
      return this.#present;
    this.#seenVersion = version;
    this.#present = eligible(
      ready,
      this.#ejections,
      settings.minHealthPercent,
      settings.loadBalancer.localityLbSetting?.enabled === true,
      now,
    );
    return this.#present;
  }

  /** The trial of an endpoint on probation; undefined where it tries none. */
  #tried(
    probation: readonly Handle<E>[],
    exclude: ReadonlySet<string> | undefined,
    repeatable: boolean,
    now: MonotonicMs,
  ): EndpointPick<E> | undefined {
    for (const each of probation) {
      const waits = now - each.load.triedAt < LONGEST_TRIAL;
      if (waits || exclude?.has(each.key) === true) continue;
      if (!repeatable && this.#ejections.isOffered?.(each.key) === false)
        continue;
      return trialOf(each, now);
    }
    return undefined;
  }

  #choose(
    from: Setup<E>,
    who: Eligible<Handle<E>>,
    now: MonotonicMs,
    exclude: ReadonlySet<string> | undefined,
    hash: number | undefined,
  ): Handle<E> | undefined {
    const { open, preferred } = who;
    if (open.length === 0) return undefined;
    if (hash !== undefined && from.hashed !== undefined)
      return from.hashed.choose(hash, open, exclude);
    let among = this.#near(who);
    // Where all near endpoints were tried, those farther away are still untried; after these, the unconfirmed ones.
    if (among !== open && exclude !== undefined && allIn(exclude, among))
      among = allIn(exclude, preferred) ? open : preferred;
    return from.algorithm.choose(this.#narrow(among, from, exclude, now), now);
  }

  #near({ preferred, levels }: Eligible<Handle<E>>): readonly Handle<E>[] {
    if (levels.length === 0) return preferred;
    const draw = levels.length === 1 ? 0 : this.#random();
    for (const level of levels) if (draw < level.upTo) return level.members;
    return preferred;
  }

  /** Those that are left where some are excluded, or where some of those that warm up stand back; all where none is left. */
  #narrow(
    from: readonly Handle<E>[],
    { settings, warmAt }: Setup<E>,
    exclude: ReadonlySet<string> | undefined,
    now: MonotonicMs,
  ): readonly Handle<E>[] {
    const { warmup } = settings.loadBalancer;
    const warming = warmup !== undefined && now < warmAt;
    if (!warming && (exclude === undefined || exclude.size === 0)) return from;
    const scratch = this.#scratch;
    scratch.length = 0;
    for (const each of from) {
      if (exclude?.has(each.key) === true) continue;
      if (warming) {
        const share = Math.max(
          warmup.minimumPercent / 100,
          (now - each.since) / warmup.duration,
        );
        if (share < 1 && this.#random() >= share) continue;
      }
      scratch.push(each);
    }
    if (scratch.length > 0) return scratch;
    if (!warming) return from;
    // All of them stood back: the rest excludes only those that were tried.
    for (const each of from)
      if (exclude?.has(each.key) !== true) scratch.push(each);
    return scratch.length > 0 ? scratch : from;
  }
}

/** The pick that is a trial: its end, and that of no other call, makes room for the next one. */
function trialOf<E>(handle: Handle<E>, now: MonotonicMs): EndpointPick<E> {
  const { kind, endpoint, load } = handle;
  load.triedAt = now;
  return {
    kind,
    endpoint,
    load,
    probing: true,
    done(latency, at, failed, retryAfter) {
      if (load.triedAt === now) load.triedAt = NO_TRIAL;
      handle.done(latency, at, failed, retryAfter);
    },
  };
}

/** Weight 0 drains an endpoint, but where all are at 0 nobody can have meant that. */
function weightedReady<E extends BalancedEndpoint>(
  handles: ReadonlyMap<string, Handle<E>>,
): readonly Handle<E>[] {
  const ready = [...handles.values()].filter(({ endpoint }) => endpoint.ready);
  const weighted = ready.filter(({ endpoint }) => endpoint.weight > 0);
  return weighted.length > 0 ? weighted : ready;
}

function newest(handles: readonly { readonly since: number }[]): number {
  return handles.reduce(
    (latest, { since }) => Math.max(latest, since),
    Number.NEGATIVE_INFINITY,
  );
}

function allIn(
  exclude: ReadonlySet<string>,
  handles: readonly { readonly key: string }[],
): boolean {
  return handles.every(({ key }) => exclude.has(key));
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
