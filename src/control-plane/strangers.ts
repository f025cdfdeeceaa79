/** Connections that have not proved who they are: capped in number, for each source and in all, in time and in bytes (law 15). */
import type { Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import { networkOf } from "../core/text/network.ts";
import { tokenBucket } from "../core/token-bucket.ts";

export interface StrangerLimits {
  /** Connections of one source: an IPv4 address, or an IPv6 /64. */
  readonly perSource: number;
  /** Connections of all sources. */
  readonly together: number;
  /** Milliseconds from the accept to the proof. */
  readonly time: number;
  /** Bytes received before the proof. */
  readonly bytes: number;
}

export interface Strangers {
  readonly size: number;
  /** False where there is no room: the connection is closed already. */
  admit(raw: Socket): boolean;
  /** The peer has proved who it is: the limits of strangers end. `socket` is the accepted one, or the TLS socket around it. */
  prove(socket: Socket): void;
  /** Ends all of them. */
  close(): void;
}

interface Stranger {
  readonly raw: Socket;
  readonly tuple: string;
  readonly source: string;
  readonly since: number;
}

/** Milliseconds. A good caller proves itself in less: one that is older makes room where there is none. */
const STALE = 1000;
/** Milliseconds between two looks at time and bytes. */
const SWEEP = 1000;
/** Log lines: strangers must not fill the log either. */
const LINES = { burst: 5, rate: 0.1 } as const;

export function limitStrangers(options: {
  /** For the log: "the push port". */
  readonly where: string;
  readonly limits: StrangerLimits;
  readonly clock: Clock;
  readonly logger: Logger;
}): Strangers {
  const { where, limits, clock, logger } = options;
  /**
   * Oldest first. The four-tuple is the one thing that an accepted socket and the TLS socket around it have in common, and one
   * connection's alone while it is open. It finds the counted socket again; nobody's identity hangs on it.
   */
  const all = new Map<string, Stranger>();
  const bySource = new Map<string, Set<Stranger>>();
  const lines = tokenBucket(LINES);
  let turnedAway = 0;

  const forget = (stranger: Stranger): void => {
    if (all.get(stranger.tuple) === stranger) all.delete(stranger.tuple);
    const siblings = bySource.get(stranger.source);
    siblings?.delete(stranger);
    if (siblings?.size === 0) bySource.delete(stranger.source);
  };

  const tell = (source: string, reason: string): void => {
    turnedAway += 1;
    if (!lines.take(clock.now())) return;
    logger.warn(
      { source, reason, connections: turnedAway },
      `connections of strangers to ${where} were closed`,
    );
    turnedAway = 0;
  };

  const end = (stranger: Stranger, reason: string): void => {
    forget(stranger);
    stranger.raw.destroy();
    tell(stranger.source, reason);
  };

  /** Whether the oldest of `full` has left its place to a newcomer. */
  const makeRoom = (full: Iterable<Stranger>, reason: string): boolean => {
    const [oldest] = full;
    if (oldest === undefined || clock.now() - oldest.since < STALE)
      return false;
    end(oldest, reason);
    return true;
  };

  const excess = (source: string): string | undefined => {
    const siblings = bySource.get(source);
    const ofSource = "too many connections of one source";
    if (siblings !== undefined && siblings.size >= limits.perSource)
      return makeRoom(siblings, ofSource) ? undefined : ofSource;
    const ofAll = "too many connections";
    if (all.size >= limits.together)
      return makeRoom(all.values(), ofAll) ? undefined : ofAll;
    return undefined;
  };

  const cancelSweep = clock.every(SWEEP, () => {
    const oldest = clock.now() - limits.time;
    for (const stranger of all.values())
      if (stranger.since <= oldest) end(stranger, "no proof in time");
      else if (stranger.raw.bytesRead > limits.bytes)
        end(stranger, "too many bytes");
  });

  return {
    get size() {
      return all.size;
    },
    admit(raw) {
      // Gone before it was looked at: it could not be found again.
      if (raw.remoteAddress === undefined) {
        raw.destroy();
        return false;
      }
      const source = networkOf(raw.remoteAddress);
      const reason = excess(source);
      if (reason !== undefined) {
        raw.destroy();
        tell(source, reason);
        return false;
      }
      const stranger = {
        raw,
        tuple: tupleOf(raw),
        source,
        since: clock.now(),
      };
      all.set(stranger.tuple, stranger);
      const siblings = bySource.get(source) ?? new Set();
      bySource.set(source, siblings.add(stranger));
      raw.once("close", () => forget(stranger));
      return true;
    },
    prove(socket) {
      const stranger = all.get(tupleOf(socket));
      if (stranger !== undefined) forget(stranger);
    },
    close() {
      cancelSweep();
      for (const { raw } of all.values()) raw.destroy();
    },
  };
}

function tupleOf(socket: Socket): string {
  return `${socket.localAddress ?? ""} ${socket.localPort ?? 0} ${socket.remoteAddress ?? ""} ${socket.remotePort ?? 0}`;
}
