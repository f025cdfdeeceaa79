/** The bytes of a connection to the control plane at the pace of all that it causes: frames cost CPU below any message. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { PacedWork } from "../core/paced-work.ts";
import type { Bytes } from "../core/units.ts";

/** Frames that are read in one step: what each of them costs is in its kind. */
const MOST_FRAMES = 16;
/** Milliseconds that bytes wait for what was spent before: the response to a keepalive is worth nothing later. */
const LONGEST_WAIT = 250;
/** Milliseconds of CPU that a mebibyte costs until it is here. */
const MEBIBYTE_COST = 5;
/** The same of a record of TLS, however short. */
const RECORD_COST = 0.01;
/** Bytes that TLS 1.3 adds to each record (RFC 8446 5.2). */
const RECORD_OVERHEAD: Bytes = 22;

/** A socket's counters. */
interface Counted {
  readonly bytesRead: Bytes;
}

/** `tls` over `raw`: HTTP/2 as the sidecar reads it. A step is a few frames, the next one waits its turn, and what is not read holds the sender back. */
export function pacedConnection(
  tls: Duplex & Counted,
  raw: Counted,
  work: PacedWork,
): Socket {
  // grpc-js and node:http2 take any Duplex; the types of the first say Socket.
  const connection: unknown = new PacedConnection(tls, raw, work);
  return connection as Socket;
}

class PacedConnection extends Duplex {
  readonly #tls: Duplex & Counted;
  readonly #raw: Counted;
  readonly #work: PacedWork;
  readonly #frames = new Frames();
  /** Bytes that TLS has added to what was read. */
  #added: Bytes;
  /** What was taken from `tls`, and not read yet. */
  #unread: Buffer = Buffer.alloc(0);
  #wanted = false;
  #reading = false;
  #ended = false;

  constructor(tls: Duplex & Counted, raw: Counted, work: PacedWork) {
    // What has come waits in `tls`, where it is not decoded yet.
    super({ readableHighWaterMark: 1 });
    this.#tls = tls;
    this.#raw = raw;
    this.#work = work;
    this.#added = raw.bytesRead - tls.bytesRead;
    tls.on("readable", () => void this.#readAll());
    tls.on("end", () => {
      this.#ended = true;
      void this.#readAll();
    });
    // Not with the error: node:http2 hands it on to a socket of its own, on which nobody listens once the session is over.
    tls.on("error", () => this.destroy());
    tls.on("close", () => {
      if (!this.#ended) this.destroy();
    });
    this.on("resume", () => void this.#readAll());
  }

  override _read(): void {
    this.#wanted = true;
    void this.#readAll();
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

  /** One step after the other, as long as somebody reads. Never rejects. */
  async #readAll(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    for (let step = this.#next(); step !== undefined; step = this.#next()) {
      const bytes = step;
      await this.#work.step(() => {
        this.#wanted = false;
        if (!this.destroyed) this.push(bytes);
      }, LONGEST_WAIT);
    }
    this.#reading = false;
    if (this.#ended && this.#unread.length === 0 && this.#isRead)
      this.push(null);
  }

  get #isRead(): boolean {
    return this.#wanted && this.readableFlowing === true && !this.destroyed;
  }

  #next(): Buffer | undefined {
    if (!this.#isRead) return undefined;
    if (this.#unread.length === 0) {
      const bytes = this.#tls.read() as Buffer | null;
      if (bytes === null) return undefined;
      this.#spendOnArrival(bytes.length);
      this.#unread = bytes;
    }
    const end = this.#frames.endOfStep(this.#unread);
    const step = this.#unread.subarray(0, end);
    this.#unread = this.#unread.subarray(end);
    return step;
  }

  #spendOnArrival(bytes: Bytes): void {
    const added = this.#raw.bytesRead - this.#tls.bytesRead;
    const records = (added - this.#added) / RECORD_OVERHEAD;
    this.#added = added;
    this.#work.spend(
      (bytes / 1_048_576) * MEBIBYTE_COST + records * RECORD_COST,
    );
  }
}

/** Bytes of a frame's head, and of the length in it (RFC 9113 4.1). */
const HEAD: Bytes = 9;
const LENGTH: Bytes = 3;

/** Where frames end, in bytes that come in any pieces. */
class Frames {
  /** Bytes of the present frame: of its head that are here, and of its payload that are not. */
  #head = 0;
  #left = 0;
  #length = 0;

  /** Behind so many frames, or the end of the bytes. */
  endOfStep(bytes: Buffer): number {
    let at = 0;
    for (let frames = 0; at < bytes.length && frames < MOST_FRAMES;) {
      if (this.#head < HEAD) at = this.#readHead(bytes, at);
      const payload = Math.min(this.#left, bytes.length - at);
      at += payload;
      this.#left -= payload;
      if (this.#head < HEAD || this.#left > 0) continue;
      this.#head = 0;
      frames += 1;
    }
    return at;
  }

  /** `#left` is the length once the head is here, and 0 before. */
  #readHead(bytes: Buffer, from: number): number {
    let at = from;
    for (; this.#head < HEAD && at < bytes.length; at += 1) {
      if (this.#head < LENGTH)
        this.#length = this.#length * 256 + (bytes[at] ?? 0);
      this.#head += 1;
    }
    if (this.#head === HEAD) {
      this.#left = this.#length;
      this.#length = 0;
    }
    return at;
  }
}
