/** The bytes of a connection on their way to TLS, in pieces: what TLS reads for itself, and hands nothing on of, is counted and bounded. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { Bytes } from "../../core/units.ts";

/** Bytes that TLS gets in one turn of the event loop: a hundred tickets or changes of keys, each of which costs some 10 µs. */
const PIECE: Bytes = 4096;
/** What a record of TLS 1.3 has besides what it hands on: its head, its type and its tag (RFC 8446 5.2). */
const RECORD: Bytes = 22;
/**
 * Bytes of a connection, behind its handshake, of which nothing is handed on. A server sends a ticket or two, and new keys after some
 * gigabytes; a record is not handed on before all of its 16 KiB are here.
 */
export const MOST_UNSEEN: Bytes = 65_536;

export class Ciphertext extends Duplex {
  readonly #raw: Socket;
  /** What was taken from the socket and TLS has not got yet. */
  #waiting: Buffer = Buffer.alloc(0);
  #wanted = false;
  #scheduled = false;
  #ended = false;
  /** Bytes that TLS got and nothing came of. */
  #unseen = 0;
  #onFlood: (() => void) | undefined;

  constructor(raw: Socket) {
    super({ readableHighWaterMark: PIECE });
    this.#raw = raw;
    raw.on("readable", () => this.#soon());
    raw.on("end", () => {
      this.#ended = true;
      this.#soon();
    });
    raw.on("error", (error) => this.destroy(error));
    raw.on("close", () => {
      if (!this.#ended) this.destroy();
    });
  }

  /** The handshake is over: from now on it ends where too much of it is for TLS alone. */
  bound(onFlood: () => void): void {
    this.#unseen = 0;
    this.#onFlood = onFlood;
  }

  /** TLS has handed on so many bytes of a record. */
  handedOn(bytes: Bytes): void {
    this.#unseen = Math.max(0, this.#unseen - bytes - RECORD);
  }

  override _read(): void {
    this.#wanted = true;
    this.#soon();
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    callback: (error?: Error | null) => void,
  ): void {
    this.#raw.write(chunk, callback);
  }

  override _final(callback: () => void): void {
    this.#raw.end(callback);
  }

  override _destroy(
    error: Error | null,
    callback: (error?: Error | null) => void,
  ): void {
    this.#raw.destroy();
    callback(error);
  }

  #soon(): void {
    if (this.#scheduled || !this.#wanted) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#next();
    });
  }

  /** A piece a turn: by the next one, all that TLS makes of this one has been handed on. */
  #next(): void {
    if (!this.#wanted || this.destroyed || this.#isFlooded()) return;
    if (this.#waiting.length === 0)
      this.#waiting = (this.#raw.read() as Buffer | null) ?? this.#waiting;
    if (this.#waiting.length === 0) {
      if (this.#ended) this.push(null);
      return;
    }
    const piece = this.#waiting.subarray(0, PIECE);
    this.#waiting = this.#waiting.subarray(piece.length);
    this.#unseen += piece.length;
    this.#wanted = false;
    this.push(piece);
  }

  #isFlooded(): boolean {
    if (this.#onFlood === undefined || this.#unseen <= MOST_UNSEEN)
      return false;
    this.#onFlood();
    this.destroy();
    return true;
  }
}
