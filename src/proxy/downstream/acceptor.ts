/** Which connections are accepted: bounds on their number, sources that are turned away, and how each refusal is reported. */
import type { Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import { networkOf } from "../../core/text/network.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { Meters } from "../../telemetry/meters.ts";
import type { ConnectionCounts } from "./connection-counts.ts";
import type { Level } from "./memory-pressure.ts";
import type { RefusalLog } from "./refusal-log.ts";
import type { Sources } from "./sources.ts";

/** Handshakes that came to nothing for want of something here. */
const OURS: ReadonlySet<string> = new Set([
  "no credentials",
  "accept failed",
  "too many handshakes",
]);

/** Why a source is turned away, for the log. */
const TURNED_AWAY =
  "too many of its connections were ended for what they sent, in the last seconds";

/** Milliseconds between two looks at what the log left out. */
const CATCH_UP = 1000;

/** Callers there are those of this machine: one application, which may have as many connections as there is room for. */
const LOCAL: ReadonlySet<string> = new Set(["outbound", "upstream"]);

/** Connections of the application beside the sidecar. */
export interface LocalConnections {
  readonly open: number;
  /** All that there ever were, those included that were turned away. */
  readonly made: number;
}

/** Whether only this machine reaches the listener. */
export function isLocal(listener: string): boolean {
  return LOCAL.has(listener);
}

export interface AcceptorOptions {
  readonly clock: Clock;
  readonly meters: Meters;
  readonly log: RefusalLog;
  readonly counts: ConnectionCounts;
  readonly sources: Sources;
  /** As of `ServingOptions`. */
  readonly isProxy?: ((address: string) => boolean) | undefined;
}

export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #sockets = new Set<Socket>();
  readonly #local = { open: 0, made: 0 };
  #level: Level = 0;
  #stopCatchUp: Cancel | undefined;

  constructor(options: AcceptorOptions) {
    this.#options = options;
  }

  /** From level 2 on no connection is accepted. */
  set level(level: Level) {
    this.#level = level;
  }

  get connections(): number {
    return this.#options.counts.total;
  }

  /** This worker's own, where `connections` has those of all. */
  get sockets(): number {
    return this.#sockets.size;
  }

  get local(): LocalConnections {
    return this.#local;
  }

  /** What connections from that address count with. Undefined where each counts for itself: of this machine's application, and of a proxy of ours, whose callers are not to pay for each other. */
  sourceOf(listener: string, address: string | undefined): string | undefined {
    if (address === undefined || isLocal(listener)) return undefined;
    return this.#options.isProxy?.(address) === true
      ? undefined
      : networkOf(address);
  }

  admit(socket: Socket, listener: string): boolean {
    const { clock, meters, counts } = this.#options;
    // The later reader of the socket has its own listeners. Until then an error must not end the process.
    socket.on("error", ignore);
    this.#stopCatchUp ??= clock.every(CATCH_UP, () => this.#catchUp());
    const address = isLocal(listener)
      ? undefined
      : (socket.remoteAddress ?? "");
    const local = isLocal(listener) ? 1 : 0;
    this.#local.made += local;
    if (!this.#mayEnter(socket, listener, address)) return false;
    this.#sockets.add(socket);
    this.#local.open += local;
    const gauge = meters.connections.with(listener);
    gauge.add(1);
    socket.on("close", () => {
      this.#sockets.delete(socket);
      this.#local.open -= local;
      counts.remove(listener, address);
      gauge.add(-1);
    });
    return true;
  }

  /** `address` undefined: of this machine. */
  #mayEnter(
    socket: Socket,
    listener: string,
    address: string | undefined,
  ): boolean {
    const { counts } = this.#options;
    if (this.#level >= 2) {
      this.turnAway(socket, listener, "overloaded", "memory runs short");
      return false;
    }
    if (!this.stillAdmits(socket, listener)) return false;
    const excess = counts.add(listener, address);
    if (excess === undefined) return true;
    this.turnAway(socket, listener, excess.reason, excess.detail);
    return false;
  }

  /** Asked again when an admitted connection has spoken: those that came along with it may have had its source turned away since. */
  stillAdmits(socket: Socket, listener: string): boolean {
    const source = this.sourceOf(listener, socket.remoteAddress);
    if (source === undefined || this.#options.sources.admits(source))
      return true;
    this.turnAway(socket, listener, "source turned away", TURNED_AWAY);
    return false;
  }

  identify(socket: Socket, listener: string, identity: SpiffeUri): boolean {
    const { sources, counts } = this.#options;
    if (!sources.admits(identity)) {
      const detail = `${TURNED_AWAY}: ${identity}`;
      this.turnAway(socket, listener, "source turned away", detail);
      this.#handshakeFailed(listener, socket.remoteAddress);
      return false;
    }
    const excess = counts.addIdentity(identity);
    if (excess !== undefined) {
      const { reason, detail } = excess;
      this.turnAway(socket, listener, reason, `${detail}: ${identity}`);
      return false;
    }
    socket.on("close", () => counts.removeIdentity(identity));
    return true;
  }

  turnAway(
    socket: Socket,
    listener: string,
    reason: string,
    detail: string,
  ): void {
    const { remoteAddress, remotePort } = socket;
    socket.destroy();
    this.#report(listener, reason, detail, remoteAddress, remotePort);
  }

  refused(
    listener: string,
    reason: string,
    detail: string,
    remoteAddress: string | undefined,
    remotePort: number | undefined,
  ): void {
    if (!OURS.has(reason)) this.#handshakeFailed(listener, remoteAddress);
    this.#report(listener, reason, detail, remoteAddress, remotePort);
  }

  destroy(): void {
    this.#stopCatchUp?.();
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  #handshakeFailed(listener: string, address: string | undefined): void {
    const source = this.sourceOf(listener, address);
    if (source !== undefined) this.#options.sources.handshakeFailed(source);
  }

  #report(
    listener: string,
    reason: string,
    detail: string,
    remoteAddress: string | undefined,
    remotePort: number | undefined,
  ): void {
    const { meters, log } = this.#options;
    meters.refused.with(listener, reason).add();
    log.warn("connection refused", reason, {
      listener,
      detail,
      remoteAddress,
      remotePort,
    });
  }

  #catchUp(): void {
    this.#options.log.catchUp();
    if (this.#sockets.size > 0) return;
    this.#stopCatchUp?.();
    this.#stopCatchUp = undefined;
  }
}

function ignore(): void {
  // An error is followed by "close", which counts.
}
