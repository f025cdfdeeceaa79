/** Messages within bytes, as WebSocket and gRPC have them, for both ends of a measurement: whole messages come out, however the bytes were cut. */

/** What cuts bytes into messages: gives the length of the first, or undefined where its head is not there yet. */
abstract class Messages {
  #rest: Buffer = Buffer.alloc(0);
  readonly #use: (message: Buffer) => void;

  constructor(use: (message: Buffer) => void) {
    this.#use = use;
  }

  /** Bytes of the head and of all of the message that comes first. */
  protected abstract measure(bytes: Buffer): [number, number] | undefined;

  read(chunk: Buffer): void {
    let bytes =
      this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const measured = this.measure(bytes);
      if (measured === undefined || bytes.length < measured[1]) break;
      this.#use(bytes.subarray(measured[0], measured[1]));
      bytes = bytes.subarray(measured[1]);
    }
    this.#rest = bytes;
  }
}

/** A binary frame that is a message by itself, of up to 64 KiB (RFC 6455 5.2). */
const BINARY = 0x82;
const MASKED = 0x80;
const EXTENDED = 126;

/** Payloads of WebSocket's frames; a mask must be of zeros, as that of `masked` is. */
export class Frames extends Messages {
  protected measure(bytes: Buffer): [number, number] | undefined {
    if (bytes.length < 4) return undefined;
    const second = bytes[1] ?? 0;
    const mask = (second & MASKED) === 0 ? 0 : 4;
    const short = second & 0x7f;
    const head = (short === EXTENDED ? 4 : 2) + mask;
    const length = short === EXTENDED ? bytes.readUInt16BE(2) : short;
    return [head, head + length];
  }

  /** As a server sends it. */
  static of(payload: Buffer): Buffer {
    return Buffer.concat([head(payload.length, 0), payload]);
  }

  /** As a client does; with a mask of zeros the payload stays what it is. */
  static masked(payload: Buffer): Buffer {
    return Buffer.concat([
      head(payload.length, MASKED),
      Buffer.alloc(4),
      payload,
    ]);
  }
}

function head(length: number, mask: number): Buffer {
  return length < EXTENDED
    ? Buffer.from([BINARY, mask | length])
    : Buffer.from([BINARY, mask | EXTENDED, length >> 8, length & 0xff]);
}

/** Messages of gRPC, with the five bytes before each. */
export class Lengths extends Messages {
  protected measure(bytes: Buffer): [number, number] | undefined {
    return bytes.length < 5 ? undefined : [0, 5 + bytes.readUInt32BE(1)];
  }

  static of(payload: Buffer): Buffer {
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(payload.length, 1);
    return Buffer.concat([prefix, payload]);
  }
}
