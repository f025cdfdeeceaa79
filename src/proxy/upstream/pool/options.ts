/** What a pool is given: how it gets its connections, and for how long it keeps them. */
import type { Clock } from "../../../core/clock.ts";
import type {
  ClientConnection,
  ClientConnectionObserver,
  WorkerPlace,
} from "../../../wire/exchange.ts";
import type { LinkWatch } from "./link-watch.ts";

export interface PoolSettings {
  /** Milliseconds: an HTTP/1.1 connection without a request lives this long, or less where the peer says so. */
  readonly idleTimeout: number;
  /** Milliseconds: an HTTP/2 connection without a stream lives this long. */
  readonly multiplexedIdleTimeout: number;
  /** Requests after which a connection is let go; 0 is never. */
  readonly maxRequestsPerConnection: number;
  /** Milliseconds to wait for a connection, and for the acknowledgement of a PING. */
  readonly connectTimeout: number;
}

/** Makes one connection. Rejects with a MeshError that is `unprocessed`. */
export type Dial = (
  observer: ClientConnectionObserver,
  signal: AbortSignal,
) => Promise<ClientConnection>;

export interface PoolOptions {
  readonly clock: Clock;
  /** Read at each use: the newest snapshot decides. */
  readonly settings: () => PoolSettings;
  readonly dial: Dial;
  /** Called with each connection that the pool gets: from then on there is something to sweep. */
  readonly connected?: () => void;
  /** Many streams share a connection: one is dialled, more only when it is full. Otherwise each waiter dials. */
  readonly multiplexed: boolean;
  /** Looks whether connections have become silent; absent: nobody does, as an application need not acknowledge a PING. */
  readonly watch?: LinkWatch | undefined;
  /** The peer is a sidecar, which may have several workers: each is to get its part. This is the worker that calls. */
  readonly spread?: WorkerPlace | undefined;
}
