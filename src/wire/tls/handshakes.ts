/** The handshakes in flight on a listener: bounded in number and in time, each ended exactly once, with its reason. */
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
  /** Handshakes from one address (IPv6: one /64). */
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
  return new HandshakeList(options);
}

class HandshakeList implements Handshakes {
  readonly #options: HandshakesOptions;
  /** By the four-tuple, the one thing that an accepted socket and the TLS socket around it have in common; oldest first. */
  readonly #listed = new Map<string, Listed>();
  /** How many there are of each source. */
  readonly #counts = new Map<string, number>();

  constructor(options: HandshakesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#listed.size;
  }

  add(raw: Socket): boolean {
    const { clock, timeout } = this.#options;
    const source = networkOf(raw.remoteAddress ?? "");
    if (!this.#makeRoom(source)) return false;
    const handshake: Listed = {
      key: tupleOf(raw),
      source,
      raw,
      remote: remoteOf(raw),
      startedAt: clock.now(),
      onClose: () =>
        this.#end(handshake, "handshake abandoned", "the peer closed"),
      cancel: clock.after(timeout, () =>
        this.#end(
          handshake,
          "handshake time-out",
          `not done after ${timeout} ms`,
        ),
      ),
    };
    raw.once("close", handshake.onClose);
    this.#listed.set(handshake.key, handshake);
    this.#count(source, 1);
    return true;
  }

  take(socket: Socket): Handshake | undefined {
    const handshake = this.#listed.get(tupleOf(socket));
    return this.#remove(handshake) ? handshake : undefined;
  }

  destroy(): void {
    for (const handshake of [...this.#listed.values()])
      if (this.#remove(handshake)) handshake.raw.destroy();
  }

  /** A source that has all that it may have makes room among its own, so that it cannot shut out others. */
  #makeRoom(source: string): boolean {
    const { clock, max, maxFromSource } = this.#options;
    const own = (this.#counts.get(source) ?? 0) >= maxFromSource;
    if (!own && this.#listed.size < max) return true;
    const oldest = own
      ? this.#oldestOf(source)
      : this.#listed.values().next().value;
    if (oldest === undefined || clock.now() - oldest.startedAt < STALE)
      return false;
    this.#end(
      oldest,
      "too many handshakes",
      `given up after ${STALE} ms to make room for another`,
    );
    return true;
  }

  #oldestOf(source: string): Listed | undefined {
    for (const handshake of this.#listed.values())
      if (handshake.source === source) return handshake;
    return undefined;
  }

  #end(handshake: Listed, reason: HandshakeEnd, detail: string): void {
    if (!this.#remove(handshake)) return;
    handshake.raw.destroy();
    this.#options.onEnd(reason, detail, handshake.remote);
  }

  #remove(handshake: Listed | undefined): handshake is Listed {
    if (
      handshake === undefined ||
      this.#listed.get(handshake.key) !== handshake
    )
      return false;
    this.#listed.delete(handshake.key);
    this.#count(handshake.source, -1);
    handshake.cancel();
    handshake.raw.off("close", handshake.onClose);
    return true;
  }

  #count(source: string, change: number): void {
    const next = (this.#counts.get(source) ?? 0) + change;
    if (next > 0) this.#counts.set(source, next);
    else this.#counts.delete(source);
  }
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
