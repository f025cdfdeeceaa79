/**
 * The bytes of messages that wait because somebody does not take them, counted as they come and go, and what follows from their number.
 *
 * ```
 *   limit ┬───────────────  no request is taken
 *         │ what sockets may bring before they can be stopped
 *    half ┼───────────────  no holder of some reads more
 *         │ free             share = free / 128: what one queue may hold before its source is stopped
 *    held ┼───────────────
 *         │ waiting: queues of streams, outputs, replay buffers …
 *       0 ┴───────────────
 * ```
 * One queue's share shrinks as the others fill (Choudhury and Hahne, "Dynamic queue length thresholds", 1998): n queues that stand still
 * come to rest at half the limit / (128 + n) each, so all of them together stay under it, and there is always a share for the next one.
 */

import {
  LEAST_READ,
  USUAL_READ,
  type ReadRoom,
} from "../runtime/socket-data.ts";
/** Bytes that one queue may hold at most, and that one read brings at most. */
const MOST = 65_536;
/** One queue may hold that part of what is free. */
const PARTS = 128;
/** Part of the limit that sockets with room for `MOST` bytes may read together, and up to which any may; at least so many sockets. */
const LARGE_READS = 4;
const LARGE_AT_LEAST = 16;
/** Part of the limit under which those that wait for room go on. */
const RELIEF = 0.4;
/** Bulk gathers so many shares for one write. TLS keeps a buffer of that size while a connection lasts: as many as are that part of the limit may, and so many at least. */
export const BULK_SHARES = 4;
const WIDE_PART = 8;
const WIDE_AT_LEAST = 4;
/** A slice that waits is copied where what it was cut from is so many times as large; beyond that part of the limit, sooner. */
const WASTE = 16;
const WASTE_BEYOND = 32;
const WASTE_SHORT = 2;

export class Buffers implements ReadRoom {
  readonly limit: number;
  readonly #half: number;
  /** Sockets that may read `MOST` bytes at once. */
  readonly #mostLarge: number;
  #held = 0;
  #promised = 0;
  /** Outputs of a connection that may gather bulk. */
  readonly #mostWide: number;
  #large = 0;
  #wide = 0;
  #waiting: (() => void)[] = [];
  #scheduled = false;

  /** Bytes; none for a codec that is not the sidecar's. */
  constructor(limit: number = Number.POSITIVE_INFINITY) {
    this.limit = limit;
    this.#half = limit / 2;
    this.#mostLarge = Math.max(LARGE_AT_LEAST, limit / LARGE_READS / MOST);
    this.#mostWide = Math.max(
      WIDE_AT_LEAST,
      limit / WIDE_PART / (MOST * BULK_SHARES),
    );
  }

  get held(): number {
    return this.#held;
  }

  /** Half of the bound is reached: no more is read of what has to wait. */
  get crowded(): boolean {
    return this.#held >= this.#half;
  }

  /** The bound is reached. */
  get full(): boolean {
    return this.#held >= this.limit;
  }

  /** Bytes that one queue may hold: 0 where half of the bound is reached. */
  get share(): number {
    const share = (this.#half - this.#held) / PARTS;
    return share >= MOST ? MOST : share <= 0 ? 0 : share;
  }

  /** Bytes that may be gathered for one write of bulk, whose cost is more by the write than by the byte. */
  get bulk(): number {
    return this.share * BULK_SHARES;
  }

  /** A connection of TLS asks to gather bulk, for as long as it lasts; it gives that up by `narrow`. */
  wide(): boolean {
    if (this.#wide >= this.#mostWide) return false;
    this.#wide += 1;
    return true;
  }
  narrow(): void {
    this.#wide -= 1;
  }

  /** How many times as large as a slice what it was cut from may be. */
  get waste(): number {
    return this.#held * WASTE_BEYOND < this.limit ? WASTE : WASTE_SHORT;
  }

  /** Bytes that one read may bring: all sockets may bring as much before any of them can be stopped. */
  get readBytes(): number {
    return this.#held + this.#promised <= this.#half ? USUAL_READ : LEAST_READ;
  }

  /** A socket may bring `bytes` more in one read than it might before; fewer where it is negative. */
  promise(bytes: number): void {
    this.#promised += bytes;
  }

  /** `bytes` more wait; fewer where it is negative. */
  change(bytes: number): void {
    this.#held += bytes;
    if (this.#waiting.length > 0) this.#relieve();
  }

  /** Runs `run` once, later, when there is room. */
  whenRoom(run: () => void): void {
    this.#waiting.push(run);
    this.#relieve();
  }

  /** There is room for sockets that read `MOST` bytes at once. */
  get roomy(): boolean {
    return this.#held * LARGE_READS < this.limit;
  }

  /** A socket asks to read so many times `MOST` bytes more at once; it gives that up by `small`. */
  large(times: number): boolean {
    if (this.#large + times > this.#mostLarge || !this.roomy) return false;
    this.#large += times;
    return true;
  }
  small(times: number): void {
    this.#large -= times;
  }

  #relieve(): void {
    if (this.#scheduled || this.#held > this.limit * RELIEF) return;
    this.#scheduled = true;
    // Not from within what made the room.
    setImmediate(() => {
      this.#scheduled = false;
      const runs = this.#waiting;
      this.#waiting = [];
      for (const run of runs) run();
    });
  }
}

/** For a codec without a proxy around it. */
export const UNBOUNDED: Buffers = new Buffers();
