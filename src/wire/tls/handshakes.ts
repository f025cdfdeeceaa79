/** The handshakes under way on a listener: bounded in number and in time, each ended exactly once, with its reason. */
import type { Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import { networkOf } from "../../core/text/network.ts";

/** Where a connection comes from; address "" and port 0 where it was gone before it could be asked. */
export interface Remote {
  readonly address: string;
  readonly port: number;
}

export type HandshakeEnd =
  | "handshake time-out"
  /** The peer left before the handshake was over. */
  | "handshake abandoned"
  | "too many handshakes";

export interface HandshakesOptions {
  readonly clock: Clock;
  /** Milliseconds for a whole handshake. */
  readonly timeout: number;
  readonly max: number;
  /** Of these, from one address (IPv6: one /64). */
  readonly maxFromSource: number;
  /** A handshake was given up; its connection is closed. */
  onEnd(reason: HandshakeEnd, detail: string, remote: Remote): void;
}

export interface Handshakes {
  readonly size: number;
  /** Puts a connection on the list. False where there is no room: then it is not on it. */
  add(raw: Socket): boolean;
  /**
   * Takes the connection that `socket` belongs to off the list, `socket` being the accepted one or the TLS socket around it. Undefined
   * where it is not on the list any more: then it is closing.
   */
  take(socket: Socket): Handshake | undefined;
  /** Ends all of them, without a word. */
  destroy(): void;
}

export interface Handshake {
  readonly raw: Socket;
  readonly remote: Remote;
}

interface Listed extends Handshake {
  readonly key: string;
  readonly source: string;
  readonly startedAt: number;
  readonly onClose: () => void;
  readonly cancel: Cancel;
}

/** Milliseconds. A handshake takes a few: one that is older than this makes room for newcomers when there is none. */
const STALE = 1000;

export function handshakeList(options: HandshakesOptions): Handshakes {
  const { clock, timeout, max, maxFromSource } = options;
  /** By the four-tuple, the one thing that an accepted socket and the TLS socket around it have in common; oldest first. */
  const listed = new Map<string, Listed>();
  /** How many there are of each source. */
  const counts = new Map<string, number>();

  const count = (source: string, change: number): void => {
    const next = (counts.get(source) ?? 0) + change;
    if (next > 0) counts.set(source, next);
    else counts.delete(source);
  };

  const remove = (handshake: Listed | undefined): handshake is Listed => {
    if (handshake === undefined || listed.get(handshake.key) !== handshake)
      return false;
    listed.delete(handshake.key);
    count(handshake.source, -1);
    handshake.cancel();
    handshake.raw.off("close", handshake.onClose);
    return true;
  };

  const end = (
    handshake: Listed,
    reason: HandshakeEnd,
    detail: string,
  ): void => {
    if (!remove(handshake)) return;
    handshake.raw.destroy();
    options.onEnd(reason, detail, handshake.remote);
  };

  const oldestOf = (source: string): Listed | undefined => {
    for (const handshake of listed.values())
      if (handshake.source === source) return handshake;
    return undefined;
  };

  /** A source that has all that it may have makes room among its own, so that it cannot shut out others. */
  const makeRoom = (source: string): boolean => {
    const own = (counts.get(source) ?? 0) >= maxFromSource;
    if (!own && listed.size < max) return true;
    const oldest = own ? oldestOf(source) : listed.values().next().value;
    if (oldest === undefined || clock.now() - oldest.startedAt < STALE)
      return false;
    end(
      oldest,
      "too many handshakes",
      `given up after ${STALE} ms to make room for another`,
    );
    return true;
  };

  return {
    get size() {
      return listed.size;
    },
    add(raw) {
      const source = networkOf(raw.remoteAddress ?? "");
      if (!makeRoom(source)) return false;
      const handshake: Listed = {
        key: tupleOf(raw),
        source,
        raw,
        remote: remoteOf(raw),
        startedAt: clock.now(),
        onClose: () => end(handshake, "handshake abandoned", "the peer closed"),
        cancel: clock.after(timeout, () =>
          end(handshake, "handshake time-out", `not done after ${timeout} ms`),
        ),
      };
      raw.once("close", handshake.onClose);
      listed.set(handshake.key, handshake);
      count(source, 1);
      return true;
    },
    take(socket) {
      const handshake = listed.get(tupleOf(socket));
      return remove(handshake) ? handshake : undefined;
    },
    destroy() {
      for (const handshake of [...listed.values()])
        if (remove(handshake)) handshake.raw.destroy();
    },
  };
}

export function remoteOf(socket: Socket): Remote {
  return {
    address: socket.remoteAddress ?? "",
    port: socket.remotePort ?? 0,
  };
}

function tupleOf(socket: Socket): string {
  return `${socket.localAddress ?? ""} ${socket.localPort ?? 0} ${socket.remoteAddress ?? ""} ${socket.remotePort ?? 0}`;
}
