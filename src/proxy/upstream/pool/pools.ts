/** All pools of the proxy, by address, expected identity and own credential generation (law 5): found, shared, let go. */
import type { Cancel, Clock } from "../../../core/clock.ts";
import {
  LOCAL_STATE,
  type SharedState,
} from "../../../core/shared/shared-state.ts";
import type { SpiffeUri } from "../../../core/units.ts";
import { MeshError } from "../../../mesh/errors.ts";
import type { Watch } from "../../../core/watch.ts";
import type { Credentials } from "../../../identity/credentials.ts";
import type { Deadlines } from "../../../core/deadlines.ts";
import type { Buffers } from "../../../wire/buffers.ts";
import type { ClientConnection, Protocol } from "../../../wire/exchange.ts";
import { dialLink, dialPlain, type PlainProtocol } from "./dial.ts";
import { Pool, type PoolSettings } from "./pool.ts";

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
    };

export interface PoolsOptions {
  readonly clock: Clock;
  readonly credentials: Watch<Credentials | undefined>;
  /** What the link is offered: HTTP/2, but for measuring. */
  readonly linkProtocol: Protocol;
  /** Ports that this process listens on. */
  readonly ownPorts: ReadonlySet<number>;
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
  readonly place: HostPort;
  settings: PoolSettings;
}

const SWEEP = 1000;
/** Pools to places outside the mesh at most: they come from what callers ask for. */
const MAX_POOLS = 4096;

export function makePools(options: PoolsOptions): Pools {
  const { clock, credentials, sharedState: own = LOCAL_STATE } = options;
  const entries = new Map<string, Entry>();
  const leaving = new Set<Pool>();
  let generation = 0;
  let stopSweep: Cancel | undefined;

  const sweep = (): void => {
    for (const { pool } of entries.values()) pool.sweep();
    for (const pool of leaving)
      if (pool.connections + pool.dialling === 0) leaving.delete(pool);
    if (entries.size === 0) {
      stopSweep?.();
      stopSweep = undefined;
    }
  };

  const letGo = (key: string, entry: Entry, successor?: Pool): void => {
    entries.delete(key);
    entry.pool.drain(successor);
    leaving.add(entry.pool);
    generation += 1;
  };

  const unsubscribe = credentials.subscribe(() => {
    generation += 1;
    // Connections made with the old credentials finish what they carry and take nothing new. Calls that wait for one being made get it, the others
    // wait in the pool that comes after: a renewal fails none of them, and takes nothing from the retry budget.
    for (const [key, entry] of [...entries]) {
      if (!key.startsWith("link ")) continue;
      const successor =
        entry.pool.waiting === 0 || credentials.value === undefined
          ? undefined
          : open(entry.place, entry.settings);
      letGo(key, entry, successor?.pool);
      if (successor !== undefined) entries.set(key, successor);
    }
  });

  const dial = (place: HostPort, entry: () => Entry): Pool => {
    const multiplexed =
      place.kind === "link"
        ? options.linkProtocol === "h2"
        : place.protocol === "h2";
    return new Pool({
      clock,
      multiplexed,
      spread: place.kind === "link" ? own : undefined,
      settings: () => entry().settings,
      dial: (observer, signal): Promise<ClientConnection> => {
        const common = {
          clock,
          address: place.address,
          port: place.port,
          timeoutMs: entry().settings.connectTimeout,
          observer,
          onLimit: options.onLimit,
          buffers: options.buffers,
          deadlines: options.deadlines,
          signal,
        };
        if (place.kind === "plain")
          return dialPlain({
            ...common,
            protocol: place.protocol,
            ownPorts: options.ownPorts,
          });
        const present = credentials.value;
        if (present === undefined)
          return Promise.reject(
            new MeshError("TLS_FAILED", "this sidecar has no certificate yet", {
              source: "proxy",
              unprocessed: true,
            }),
          );
        return dialLink({
          ...common,
          credentials: present,
          expected: place.identity,
          alpn: options.linkProtocol,
        });
      },
    });
  };

  const open = (place: HostPort, settings: PoolSettings): Entry => {
    const entry: Entry = { pool: dial(place, () => entry), place, settings };
    return entry;
  };

  return {
    get generation() {
      return generation;
    },
    find(place, settings) {
      const key = keyOf(place);
      const known = entries.get(key);
      if (known !== undefined) {
        known.settings = settings;
        return known.pool;
      }
      if (entries.size >= MAX_POOLS) evictUnused(entries, letGo);
      const entry = open(place, settings);
      entries.set(key, entry);
      stopSweep ??= clock.every(SWEEP, sweep);
      return entry.pool;
    },
    retain(places) {
      const kept = new Set<string>();
      for (const place of places) kept.add(keyOf(place));
      for (const [key, entry] of [...entries])
        if (!kept.has(key) && !isOutside(key)) letGo(key, entry);
    },
    get connections() {
      let count = 0;
      for (const { pool } of entries.values()) count += pool.connections;
      for (const pool of leaving) count += pool.connections;
      return count;
    },
    *entries() {
      for (const [key, { pool }] of entries) yield [key, pool] as const;
    },
    drain() {
      for (const [key, entry] of [...entries]) letGo(key, entry);
    },
    destroy() {
      unsubscribe();
      stopSweep?.();
      stopSweep = undefined;
      for (const { pool } of entries.values()) pool.destroy();
      for (const pool of leaving) pool.destroy();
      entries.clear();
      leaving.clear();
    },
  };
}

function keyOf(place: HostPort): string {
  return place.kind === "link"
    ? `link ${place.address} ${place.port} ${place.identity}`
    : `${place.protocol} ${place.address} ${place.port}`;
}

/** Plain pools belong to places outside the mesh, or to the application; they go when they are idle, not with a snapshot. */
function isOutside(key: string): boolean {
  return !key.startsWith("link ");
}

function evictUnused(
  entries: ReadonlyMap<string, Entry>,
  letGo: (key: string, entry: Entry) => void,
): void {
  for (const [key, entry] of [...entries])
    if (entry.pool.connections + entry.pool.dialling + entry.pool.waiting === 0)
      letGo(key, entry);
}
