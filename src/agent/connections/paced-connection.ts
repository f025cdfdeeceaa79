/** The bytes of a connection to the control plane at the pace of all that it causes: frames cost CPU below any message. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { Clock } from "../../core/clock.ts";
import type { PacedWork } from "../../core/paced-work.ts";
import { tokenBucket } from "../../core/token-bucket.ts";
import type { Bytes } from "../../core/units.ts";

/** Frames and bytes that are read in one step: what each frame costs is in its kind, and a few bytes may be a message. */
const MOST_FRAMES = 16;
const MOST_BYTES: Bytes = 8192;
/** Milliseconds that bytes wait for what was spent before: the response to a keepalive is worth nothing later. */
const LONGEST_WAIT = 250;
/** Milliseconds of CPU that a mebibyte costs until it is here. */
const MEBIBYTE_COST = 5;
/** The same of a record of TLS, however short. */
const RECORD_COST = 0.01;
/** Frames that a record counts for which is shorter than the head of one: it was cut on purpose. */
const SHORT_RECORD = 4;
/**
 * Frames and records of a connection that carry nothing of a message. A call has two, an upload one for each 16 KiB and a keepalive one; what
 * is more is said for its own sake.
 */
export const BARE_FRAMES = { rate: 100, burst: 1000 } as const;
/** Bytes of a message in a frame that brings some of one. A control plane's shortest message has about as many. */
const LEAST_PAYLOAD: Bytes = 32;
/** Bytes of what is not a message that count as one frame: names and values are decoded one by one. */
const BARE_LENGTH: Bytes = 1024;

export interface PacedConnectionOptions {
  readonly work: PacedWork;
  readonly clock: Clock;
  /** TLS has handed on so many bytes of a record. */
  readonly onRecord?: (bytes: Bytes) => void;
  /** The connection ends: what comes is not what any control plane sends. */
  readonly onFlood: (reason: string) => void;
}

/**
 * HTTP/2 over `tls` as the sidecar reads it. A step is a few frames, the next one waits its turn, and what is not read holds the sender back.
 * Frames that carry nothing end it before they are read.
 */
export function pacedConnection(
  tls: Duplex,
  options: PacedConnectionOptions,
): Socket {
  // grpc-js and node:http2 take any Duplex; the types of the first say Socket.
  const connection: unknown = new PacedConnection(tls, options);
  return connection as Socket;
}

class PacedConnection extends Duplex {
  readonly #tls: Duplex;
  readonly #options: PacedConnectionOptions;
  readonly #frames = new Frames();
  readonly #bare = tokenBucket(BARE_FRAMES);
  /** What was taken from `tls`, and not read yet. */
  #unread: Buffer = Buffer.alloc(0);
  #wanted = false;
  #reading = false;
  #ended = false;

  constructor(tls: Duplex, options: PacedConnectionOptions) {
    // What has come waits in `tls`, where it is not decoded yet.
    super({ readableHighWaterMark: 1 });
    this.#tls = tls;
    this.#options = options;
    // TLS hands on record by record, also while nobody reads: it reads a while ahead, and each costs it as much as a long one.
    const push = tls.push.bind(tls);
    tls.push = (bytes: Buffer | null, ...more) => {
      if (bytes !== null) this.#countRecord(bytes.length);
      return push(bytes, ...more);
    };
    tls.on("readable", () => this.#readSoon());
    tls.on("end", () => {
      this.#ended = true;
      this.#readSoon();
    });
    // Not with the error: node:http2 hands it on to a socket of its own, on which nobody listens once the session is over.
    tls.on("error", () => this.destroy());
    tls.on("close", () => {
      if (!this.#ended) this.destroy();
    });
    this.on("resume", () => this.#readSoon());
  }

  override _read(): void {
    this.#wanted = true;
    // Not within this call: what is pushed then goes to a buffer first, and the end has to come after it.
    queueMicrotask(() => this.#readSoon());
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    callback: () => void,
  ): void {
    this.#tls.write(chunk, () => callback());
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer }[],
    callback: () => void,
  ): void {
    const all = Buffer.concat(chunks.map(({ chunk }) => chunk));
    this.#tls.write(all, () => callback());
  }

  override _final(callback: () => void): void {
    this.#tls.end(() => callback());
  }

  override _destroy(
    error: Error | null,
    callback: (error?: Error | null) => void,
  ): void {
    this.#tls.destroy();
    callback(error);
  }

  #readSoon(): void {
    // Its reader could not go on.
    this.#readAll().catch(() => this.destroy());
  }

  /** One step after the other, as long as somebody reads. */
  async #readAll(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    for (let step = this.#next(); step !== undefined; step = this.#next()) {
      const bytes = step;
      await this.#options.work.step(() => {
        this.#wanted = false;
        if (!this.destroyed) this.push(bytes);
      }, LONGEST_WAIT);
    }
    this.#reading = false;
    if (this.#isOver) this.destroy();
  }

  /**
   * All was read, and no more comes. Such a connection is closed, and never half closed: what node:http2 writes to a stream whose end it has
   * begun is a failed assertion of Node (nodejs/node, lib/internal/js_stream_socket.js), which ends the process.
   */
  get #isOver(): boolean {
    return (
      this.#ended &&
      this.#isRead &&
      this.#unread.length === 0 &&
      this.readableLength === 0
    );
  }

  get #isRead(): boolean {
    return this.#wanted && this.readableFlowing === true && !this.destroyed;
  }

  #next(): Buffer | undefined {
    if (!this.#isRead) return undefined;
    if (this.#unread.length === 0) {
      const bytes = this.#tls.read() as Buffer | null;
      if (bytes === null) return undefined;
      this.#options.work.spend((bytes.length / 1_048_576) * MEBIBYTE_COST);
      this.#unread = bytes;
    }
    const { end, bare } = this.#frames.step(this.#unread);
    if (!this.#allow(bare)) return undefined;
    const step = this.#unread.subarray(0, end);
    this.#unread = this.#unread.subarray(end);
    return step;
  }

  #countRecord(length: Bytes): void {
    this.#options.work.spend(RECORD_COST);
    this.#options.onRecord?.(length);
    if (length < HEAD) this.#allow(SHORT_RECORD);
  }

  /** False where so many more that carry nothing are too many: the connection is over. */
  #allow(bare: number): boolean {
    const { clock, onFlood } = this.#options;
    const now = clock.now();
    for (let count = 1; count <= bare && !this.destroyed; count += 1)
      if (!this.#bare.take(now)) {
        onFlood(
          `the control plane floods its connection with frames that carry nothing: more than ${BARE_FRAMES.burst}, and ${BARE_FRAMES.rate} a second`,
        );
        this.destroy();
      }
    return !this.destroyed;
  }
}

/** Bytes of a frame's head, of the length in it, and where the type is (RFC 9113 4.1). */
const HEAD: Bytes = 9;
const LENGTH: Bytes = 3;
const TYPE: Bytes = 3;
const DATA = 0;

/** How far a step goes. */
interface Step {
  readonly end: Bytes;
  /** Frames in it that carry nothing of a message; a long one counts for several. */
  readonly bare: number;
}

/** Where frames end, in bytes that come in any pieces. */
class Frames {
  /** Bytes of the present frame: of its head that are here, and of its payload that are not. */
  #head = 0;
  #left = 0;
  #length = 0;
  #type = DATA;

  /** Behind so many frames, or so many bytes. */
  step(unread: Buffer): Step {
    const bytes = unread.subarray(0, MOST_BYTES);
    let [end, bare] = [0, 0];
    for (let frames = 0; end < bytes.length && frames < MOST_FRAMES;) {
      if (this.#head < HEAD) {
        end = this.#readHead(bytes, end);
        if (this.#head === HEAD) bare += this.#weight();
      }
      const payload = Math.min(this.#left, bytes.length - end);
      end += payload;
      this.#left -= payload;
      if (this.#head < HEAD || this.#left > 0) continue;
      this.#head = 0;
      frames += 1;
    }
    return { end, bare };
  }

  #weight(): number {
    if (this.#type !== DATA) return 1 + Math.floor(this.#left / BARE_LENGTH);
    return this.#left < LEAST_PAYLOAD ? 1 : 0;
  }

  /** `#left` is the length once the head is here, and 0 before. */
  #readHead(bytes: Buffer, from: number): number {
    let at = from;
    for (; this.#head < HEAD && at < bytes.length; at += 1) {
      const byte = bytes[at] ?? 0;
      if (this.#head < LENGTH) this.#length = this.#length * 256 + byte;
      if (this.#head === TYPE) this.#type = byte;
      this.#head += 1;
    }
    if (this.#head === HEAD) {
      this.#left = this.#length;
      this.#length = 0;
    }
    return at;
  }
}
