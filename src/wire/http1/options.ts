/** What the ends of an HTTP/1.1 connection are given besides their socket. */
import type { Clock } from "../../core/clock.ts";
import type { Deadlines } from "../../core/deadlines.ts";
import type { Buffers } from "../buffers.ts";
import type { ServerConnectionInfo } from "../exchange.ts";
import type { Source } from "../flood-guard.ts";
import type { Http1Limit, Http1Limits } from "./limits.ts";

export interface Http1ClientOptions {
  readonly clock: Clock;
  /** What the proxy holds in all; absent: no bound but those of the connection. */
  readonly buffers?: Buffers | undefined;
  /** One object for all connections that have the same; absent: the defaults. */
  readonly limits?: Http1Limits;
}

export interface Http1ServerOptions extends Http1ClientOptions {
  /** What all connections wait for; absent: a timer of its own. */
  readonly deadlines?: Deadlines | undefined;
  readonly info: ServerConnectionInfo;
  /** A time-out acted: for a metric. Must not throw. */
  readonly onLimit?: (limit: Http1Limit) => void;
  /** Whose connection it is; absent: nobody else's counts with it. */
  readonly source?: Source | undefined;
  /** What was read already to find out the protocol; it counts as received first. */
  readonly firstBytes?: Buffer;
}
