/** All pools of the proxy, by address, expected identity and own credential generation (law 5): found, shared, let go. */
import { createHash } from "node:crypto";
import type { Cancel, Clock } from "../../../core/clock.ts";
import {
  LOCAL_STATE,
  type SharedState,
} from "../../../core/shared/shared-state.ts";
import type { SpiffeUri } from "../../../core/units.ts";
import { MeshError } from "../../../mesh/errors.ts";
import type { Reached } from "../../exchange/raw-bytes.ts";
import type { Reach } from "../../../runtime/fetch/guarded-lookup.ts";
import type { Watch } from "../../../core/watch.ts";
import type { Credentials } from "../../../identity/credentials.ts";
import type { Proof } from "../../../identity/revoked.ts";
import type { ClientTls } from "../../../resources/traffic-policy/client-tls.ts";
import type { TlsSessions } from "../../../wire/tls/connect-outside.ts";
import type { LiveConnections } from "../../../wire/tls/live-connections.ts";
import type { Deadlines } from "../../../core/deadlines.ts";
import type { Buffers } from "../../../wire/buffers.ts";
import type {
  ClientConnection,
  ClientConnectionObserver,
  Protocol,
} from "../../../wire/exchange.ts";
import { dialLink, dialPlain, dialTls, type PlainProtocol } from "./dial.ts";
import type { PoolSettings } from "./options.ts";
import { LinkWatch } from "./link-watch.ts";
import { Pool } from "./pool.ts";

/** What a pool connects to. */
export type HostPort =
  | {
      readonly kind: "link";
      readonly address: string;
      readonly port: number;
      readonly identity: SpiffeUri;
    }
  | {
      readonly kind: "plain";
      readonly address: string;
      readonly port: number;
      readonly protocol: PlainProtocol;
      /** What the mesh says of the other end; absent: nothing. */
      readonly claim?: Proof | undefined;
      /** Where the name may lead; absent: anywhere. */
      readonly reach?: Reach | undefined;
    }
  | {
      /** No sidecar is there, and TLS is spoken all the same. */
      readonly kind: "tls";
      readonly address: string;
      readonly port: number;
      readonly protocol: PlainProtocol;
      readonly tls: ClientTls;
      readonly serverName: string;
      readonly reach?: Reach | undefined;
    };

export interface PoolsOptions {
  readonly clock: Clock;
  readonly credentials: Watch<Credentials | undefined>;
  /** Ends connections to those that no longer stand; absent: nothing does. */
  readonly live?: LiveConnections | undefined;
  /** Trust domains that are one and the same now; absent: none. */
  readonly equalDomains?: () => readonly string[];
  /** What the link is offered: HTTP/2, but for measuring. */
  readonly linkProtocol: Protocol;
  /** Ports that this process listens on. */
  readonly ownPorts: ReadonlySet<number>;
  /** Why no bytes that nobody parses go there; absent: nothing stands against it. */
  readonly refusesBytes?: (reached: Reached) => MeshError | undefined;
  /** A limit of a connection's codec acted; for a metric. */
  readonly onLimit?: (limit: string) => void;
  /** Absent: this worker is the only one. */
  readonly sharedState?: SharedState;
  /** What the proxy holds in all; absent: no bound. */
  readonly buffers?: Buffers;
  /** What the connections wait for; absent: each has a timer of its own. */
  readonly deadlines?: Deadlines;
}

export interface Pools {
  /** The pool for `place`; it goes by `settings` from now on. A pool of earlier credentials is never given. */
  find(place: HostPort, settings: PoolSettings): Pool;
  /** Grows when pools that were given may not be used any more. */
  readonly generation: number;
  /** Lets go of every pool whose place is not among `places`, once its requests are over. */
  retain(places: Iterable<HostPort>): void;
  readonly connections: number;
  entries(): Iterable<readonly [string, Pool]>;
  drain(): void;
  destroy(): void;
}

interface Entry {
  readonly pool: Pool;
  /** The same place; what is said of its other end may change. */
  place: HostPort;
  settings: PoolSettings;
  /** What its TLS connections begin with; the link resumes none (law 5). */
  readonly sessions: TlsSessions;
}

/** Milliseconds between two rounds of the sweep. */
const SWEEP = 1000;
/**
 * Pools looked at, and connections let go of, in one turn of the event loop at most; the round goes on a millisecond later. To close a
 * connection may take a twentieth of a millisecond, and thousands fall idle together after a burst of calls.
 */
export const MOST_LOOKED_AT = 256;
export const MOST_LET_GO = 32;
/** Pools to places outside the mesh at most: they come from what callers ask for. */
const MAX_POOLS = 4096;

export function makePools(options: PoolsOptions): Pools {
  return new AllPools(options);
}

class AllPools implements Pools {
  readonly #options: PoolsOptions;
  readonly #entries = new Map<string, Entry>();
  /** Those that have connections, as far as is known: a sweep has nothing to look for in the others, which may be thousands. */
  readonly #connected = new Set<Pool>();
  /** Let go while connections were being made for those that wait. */
  readonly #leaving = new Set<Pool>();
  readonly #unsubscribe: Cancel;
  readonly #watch: LinkWatch;
  #generation = 0;
  #stopSweep: Cancel | undefined;
  /** What the round that is in progress has still to look at. */
  #round: Pool[] = [];
  #stopRound: Cancel | undefined;

  constructor(options: PoolsOptions) {
    this.#options = options;
    this.#watch = new LinkWatch(options.clock, options.deadlines);
    this.#unsubscribe = options.credentials.subscribe(() => this.#renewed());
  }

  get generation(): number {
    return this.#generation;
  }

  find(place: HostPort, settings: PoolSettings): Pool {
    const key = keyOf(place);
    const known = this.#entries.get(key);
    if (known !== undefined) {
      known.settings = settings;
      known.place = place;
      return known.pool;
    }
    if (this.#entries.size >= MAX_POOLS) this.#evictUnused();
    const entry = this.#open(place, settings);
    this.#entries.set(key, entry);
    return entry.pool;
  }

  retain(places: Iterable<HostPort>): void {
    const kept = new Set<string>();
    for (const place of places) kept.add(keyOf(place));
    for (const [key, entry] of [...this.#entries])
      if (!kept.has(key) && !isOutside(key)) this.#letGo(key, entry);
  }

  get connections(): number {
    let count = 0;
    for (const pool of this.#connected) count += pool.connections;
    return count;
  }

  *entries(): Iterable<readonly [string, Pool]> {
    for (const [key, { pool }] of this.#entries) yield [key, pool] as const;
  }

  drain(): void {
    for (const [key, entry] of [...this.#entries]) this.#letGo(key, entry);
  }

  destroy(): void {
    this.#unsubscribe();
    this.#watch.close();
    this.#stopSweeping();
    for (const { pool } of this.#entries.values()) pool.destroy();
    for (const pool of this.#leaving) pool.destroy();
    this.#entries.clear();
    this.#leaving.clear();
    this.#connected.clear();
  }

  /**
   * Connections made with the old credentials finish what they carry and take nothing new. Calls that wait for one being made get it,
   * the others wait in the pool that comes after: a renewal fails none of them, and takes nothing from the retry budget.
   */
  #renewed(): void {
    this.#generation += 1;
    for (const [key, entry] of [...this.#entries]) {
      if (!key.startsWith("link ")) continue;
      const successor =
        entry.pool.waiting === 0 ||
        this.#options.credentials.value === undefined
          ? undefined
          : this.#open(entry.place, entry.settings);
      this.#letGo(key, entry, successor?.pool);
      if (successor !== undefined) this.#entries.set(key, successor);
    }
  }

  #open(place: HostPort, settings: PoolSettings): Entry {
    const { clock, linkProtocol, sharedState = LOCAL_STATE } = this.#options;
    const isLink = place.kind === "link";
    const multiplexed = (isLink ? linkProtocol : place.protocol) === "h2";
    const entry: Entry = {
      place,
      settings,
      sessions: {},
      pool: new Pool({
        clock,
        multiplexed,
        watch: isLink && multiplexed ? this.#watch : undefined,
        spread: isLink ? sharedState : undefined,
        settings: () => entry.settings,
        dial: (observer, signal) => this.#dial(entry, observer, signal),
        connected: () => this.#hasConnection(entry.pool),
      }),
    };
    return entry;
  }

  #dial(
    { place, settings, sessions }: Entry,
    observer: ClientConnectionObserver,
    signal: AbortSignal,
  ): Promise<ClientConnection> {
    const { clock, onLimit, buffers, deadlines, live } = this.#options;
    const common = {
      clock,
      address: place.address,
      port: place.port,
      timeoutMs: settings.connectTimeout,
      observer,
      onLimit,
      buffers,
      deadlines,
      live,
      signal,
    };
    if (place.kind === "plain") {
      const { protocol, claim, reach } = place;
      const { ownPorts, refusesBytes } = this.#options;
      return dialPlain({
        ...common,
        ...{ protocol, ownPorts, claim, reach },
        refuses: protocol === "tcp" ? refusesBytes : undefined,
      });
    }
    if (place.kind === "tls") {
      const { ownPorts } = this.#options;
      return dialTls({ ...common, ...place, ownPorts, sessions });
    }
    const credentials = this.#options.credentials.value;
    if (credentials === undefined)
      return Promise.reject(
        new MeshError("TLS_FAILED", "this sidecar has no certificate yet", {
          source: "proxy",
          unprocessed: true,
        }),
      );
    return dialLink({
      ...common,
      credentials,
      expected: place.identity,
      equalDomains: this.#options.equalDomains?.(),
      alpn: this.#options.linkProtocol,
    });
  }

  #hasConnection(pool: Pool): void {
    // One that was let go hands its connection to the call that waits, and drains it.
    if (this.#leaving.has(pool)) return;
    this.#connected.add(pool);
    this.#startSweeping();
  }

  #startSweeping(): void {
    this.#stopSweep ??= this.#options.clock.every(SWEEP, () => this.#sweep());
  }

  #stopSweeping(): void {
    this.#stopSweep?.();
    this.#stopSweep = undefined;
    this.#stopRound?.();
    this.#stopRound = undefined;
    this.#round = [];
  }

  #sweep(): void {
    for (const pool of this.#leaving)
      if (pool.connections + pool.dialling === 0) this.#leaving.delete(pool);
    if (this.#connected.size + this.#leaving.size === 0) this.#stopSweeping();
    if (this.#round.length > 0) return;
    this.#round = [...this.#connected];
    this.#goOn();
  }

  /** The next part of the round. */
  readonly #goOn = (): void => {
    this.#stopRound = undefined;
    let most = MOST_LET_GO;
    for (let looked = 0; looked < MOST_LOOKED_AT; looked += 1) {
      const pool = this.#round.at(-1);
      if (pool === undefined) return;
      most -= pool.sweep(most);
      // It may have more.
      if (most === 0) break;
      this.#round.pop();
      if (pool.connections === 0) this.#connected.delete(pool);
    }
    this.#stopRound = this.#options.clock.after(1, this.#goOn);
  };

  #letGo(key: string, entry: Entry, successor?: Pool): void {
    this.#entries.delete(key);
    const { pool } = entry;
    pool.drain(successor);
    this.#connected.delete(pool);
    if (pool.dialling > 0) {
      this.#leaving.add(pool);
      this.#startSweeping();
    }
    this.#generation += 1;
  }

  #evictUnused(): void {
    for (const [key, entry] of [...this.#entries]) {
      const { connections, dialling, waiting } = entry.pool;
      if (connections + dialling + waiting === 0) this.#letGo(key, entry);
    }
  }
}

function keyOf(place: HostPort): string {
  switch (place.kind) {
    case "link":
      return `link ${place.address} ${place.port} ${place.identity}`;
    case "plain":
      return `${place.protocol} ${place.address} ${place.port}${guardOf(place)}`;
    case "tls":
      return `tls ${place.protocol} ${place.address} ${place.port} ${place.serverName} ${textOf(place.tls)}${guardOf(place)}`;
  }
}

/** A connection that was not guarded serves no call that has to be. */
function guardOf({ reach }: { readonly reach?: Reach | undefined }): string {
  return reach === undefined ? "" : ` within ${textOf(reach)}`;
}

const texts = new WeakMap<ClientTls | Reach, string>();

/** Settings that say the same have the same text. */
function textOf(said: ClientTls | Reach): string {
  let text = texts.get(said);
  if (text === undefined) {
    const json = JSON.stringify(said);
    text = createHash("sha256").update(json).digest("base64url");
    texts.set(said, text);
  }
  return text;
}

/** Other pools belong to places outside the mesh, or to the application; they go when they are idle, not with a snapshot. */
function isOutside(key: string): boolean {
  return !key.startsWith("link ");
}
