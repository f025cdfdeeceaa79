/** The body of the message that a connection is reading, by whichever framing its head announced (RFC 9112 6.3). */
import type { BodyReceiver } from "../../exchange.ts";
import type { Fields } from "../../fields.ts";
import { ChunkedDecoder } from "./chunked.ts";
import type { Framing } from "./header-section.ts";
import type { Http1Limits } from "../limits.ts";

/** One a connection, made ready for each message. */
export class BodyReader {
  readonly #limits: Http1Limits;
  readonly #onTinyChunk: (() => void) | undefined;
  #framing: Framing = "none";
  /** Only while the message comes in chunks. */
  #chunked: ChunkedDecoder | undefined;
  /** Bytes still to come, where the framing is by length. */
  #left = 0;

  /** `onTinyChunk` as `ChunkedDecoder` has it. */
  constructor(limits: Http1Limits, onTinyChunk?: () => void) {
    this.#limits = limits;
    this.#onTinyChunk = onTinyChunk;
  }

  begin(framing: Framing, length: number | undefined): void {
    this.#framing = framing;
    this.#left = framing === "length" ? (length ?? 0) : 0;
    this.#chunked =
      framing === "chunked"
        ? new ChunkedDecoder(this.#limits, this.#onTinyChunk)
        : undefined;
  }

  /** The last byte has been read. A close-delimited body is never done: the connection's end is its end. */
  get done(): boolean {
    switch (this.#framing) {
      case "none":
        return true;
      case "length":
        return this.#left === 0;
      case "chunked":
        return this.#chunked?.done === true;
      case "close":
        return false;
    }
  }

  /** The end of the connection is the end of the body. */
  get closeDelimited(): boolean {
    return this.#framing === "close";
  }

  /** Bytes that are still to come at least. */
  get remaining(): number {
    return this.#left;
  }

  get trailers(): Fields | undefined {
    return this.#chunked?.trailers;
  }

  /**
   * Takes of bytes[at, end) what belongs to the body, gives its content to the receiver in one call, and returns where it
   * stopped. Without a receiver the content is dropped. Throws `Http1Fault`.
   */
  read(
    bytes: Buffer,
    at: number,
    end: number,
    receiver: BodyReceiver | undefined,
  ): number {
    if (this.#chunked !== undefined)
      return this.#chunked.decode(bytes, at, end, receiver);
    const to =
      this.#framing === "length" ? Math.min(end, at + this.#left) : end;
    if (this.#framing === "length") this.#left -= to - at;
    if (to > at)
      receiver?.data(
        at === 0 && to === bytes.length ? bytes : bytes.subarray(at, to),
      );
    return to;
  }
}
