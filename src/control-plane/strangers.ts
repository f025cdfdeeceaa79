/** Connections that have not proved who they are: capped in number, for each source and in all, in time and in bytes (law 15). */
import type { Socket } from "node:net";
import type { Cancel, Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import { networkOf } from "../core/text/network.ts";
import { tokenBucket } from "../core/token-bucket.ts";
import { LoopAge } from "./loop-age.ts";

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

interface Stranger {
  readonly raw: Socket;
  readonly tuple: string;
  readonly source: string;
  readonly since: number;
  /** By `#age`; infinite once it waits for its turn, so that it makes no room. */
  born: number;
}

/** Milliseconds. A good caller proves itself in less: one that is older makes room where there is none. */
const STALE = 1000;
/** Milliseconds between two looks at time and bytes. */
const SWEEP = 1000;
/** Log lines: strangers must not fill the log either. */
const LINES = { burst: 5, rate: 0.1 } as const;

const TOO_MANY_BYTES = "too many bytes";

export interface StrangersOptions {
  /** For the log: "the push port". */
  readonly where: string;
  readonly limits: StrangerLimits;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Strangers {
  readonly #options: StrangersOptions;
  /**
   * Oldest first. The four-tuple is the one thing that an accepted socket and the TLS socket around it have in common, and one
   * connection's alone while it is open. It finds the counted socket again; nobody's identity hangs on it.
   */
  readonly #all = new Map<string, Stranger>();
  readonly #bySource = new Map<string, Set<Stranger>>();
  readonly #lines = tokenBucket(LINES);
  readonly #cancelSweep: Cancel;
  /** In a stall, when many come back at once, each newcomer would end the one whose handshake is nearly done, and nobody would get in. */
  readonly #age: LoopAge;
  #turnedAway = 0;

  constructor(options: StrangersOptions) {
    this.#options = options;
    this.#cancelSweep = options.clock.every(SWEEP, () => this.#sweep());
    this.#age = new LoopAge(options.clock);
  }

  get size(): number {
    return this.#all.size;
  }

  /** False where all places are taken: the connection is closed already. */
  admit(raw: Socket): boolean {
    // Gone before it was looked at: it could not be found again.
    if (raw.remoteAddress === undefined) {
      raw.destroy();
      return false;
    }
    const source = networkOf(raw.remoteAddress);
    const reason = this.#excess(source);
    if (reason !== undefined) {
      raw.destroy();
      this.#log(source, reason);
      return false;
    }
    const since = this.#options.clock.now();
    const born = this.#age.now;
    const stranger = { raw, tuple: tupleOf(raw), source, since, born };
    this.#all.set(stranger.tuple, stranger);
    const siblings = this.#bySource.get(source) ?? new Set();
    this.#bySource.set(source, siblings.add(stranger));
    raw.once("close", () => this.#forget(stranger));
    return true;
  }

  /** It has said something, and waits for its turn: it makes no room. What said too much is closed at once. */
  waits(raw: Socket): void {
    const stranger = this.#all.get(tupleOf(raw));
    if (stranger === undefined) return;
    stranger.born = Infinity;
    if (raw.bytesRead > this.#options.limits.bytes)
      this.#end(stranger, TOO_MANY_BYTES);
  }

  /** The peer has proved who it is, or is counted elsewhere from now on: these limits end. `socket` is the accepted one, or the TLS socket around it. */
  prove(socket: Socket): void {
    const stranger = this.#all.get(tupleOf(socket));
    if (stranger !== undefined) this.#forget(stranger);
  }

  /** Ends all of them. */
  close(): void {
    this.#cancelSweep();
    this.#age.close();
    for (const { raw } of this.#all.values()) raw.destroy();
  }

  #forget(stranger: Stranger): void {
    const { tuple, source } = stranger;
    if (this.#all.get(tuple) === stranger) this.#all.delete(tuple);
    const siblings = this.#bySource.get(source);
    siblings?.delete(stranger);
    if (siblings?.size === 0) this.#bySource.delete(source);
  }

  #end(stranger: Stranger, reason: string): void {
    this.#forget(stranger);
    stranger.raw.destroy();
    this.#log(stranger.source, reason);
  }

  #log(source: string, reason: string): void {
    const { where, clock, logger } = this.#options;
    this.#turnedAway += 1;
    if (!this.#lines.take(clock.now())) return;
    logger.warn(
      { source, reason, connections: this.#turnedAway },
      `connections of strangers to ${where} were closed`,
    );
    this.#turnedAway = 0;
  }

  /** Why another connection of this source finds no room; undefined where there is room. */
  #excess(source: string): string | undefined {
    const { limits } = this.#options;
    const siblings = this.#bySource.get(source);
    const ofSource = "too many connections of one source";
    if (siblings !== undefined && siblings.size >= limits.perSource)
      return this.#makeRoom(siblings, ofSource) ? undefined : ofSource;
    const ofAll = "too many connections";
    if (
      this.#all.size < limits.together ||
      this.#makeRoom(this.#all.values(), ofAll) ||
      this.#shareOut(siblings?.size ?? 0, ofAll)
    )
      return undefined;
    return ofAll;
  }

  /** Whether the source that has most has left its last place to one that has fewer: a few sources do not keep out all others. */
  #shareOut(own: number, reason: string): boolean {
    let most: ReadonlySet<Stranger> = new Set();
    for (const each of this.#bySource.values())
      if (each.size > most.size) most = each;
    const newest = [...most].at(-1);
    if (newest === undefined || most.size <= own + 1) return false;
    this.#end(newest, reason);
    return true;
  }

  /** Whether the oldest of `full` has left its place to a newcomer. */
  #makeRoom(full: Iterable<Stranger>, reason: string): boolean {
    const [oldest] = full;
    if (oldest === undefined || this.#age.now - oldest.born < STALE)
      return false;
    this.#end(oldest, reason);
    return true;
  }

  #sweep(): void {
    const { limits, clock } = this.#options;
    const oldest = clock.now() - limits.time;
    for (const stranger of this.#all.values())
      if (stranger.since <= oldest) this.#end(stranger, "no proof in time");
      else if (stranger.raw.bytesRead > limits.bytes)
        this.#end(stranger, TOO_MANY_BYTES);
  }
}

/** What an accepted socket and the TLS socket around it have in common. */
export function tupleOf(socket: Socket): string {
  return `${socket.localAddress ?? ""} ${socket.localPort ?? 0} ${socket.remoteAddress ?? ""} ${socket.remotePort ?? 0}`;
}
