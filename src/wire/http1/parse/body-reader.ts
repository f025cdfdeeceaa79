/** The body of the message that a connection is reading, by whichever framing its head announced (RFC 9112 6.3). */
import type { BodyReceiver } from "../../exchange.ts";
import type { Fields } from "../../fields.ts";
import { ChunkedDecoder } from "./chunked.ts";
import type { Framing } from "./header-section.ts";
import type { Http1Limits } from "../limits.ts";

/** One a connection, made ready for each message. */
export class BodyReader {
  readonly #chunked: ChunkedDecoder;
  readonly #emit: (data: Buffer) => void;
  #framing: Framing = "none";
  #receiver: BodyReceiver | undefined;
  /** Bytes still to come, where the framing is by length. */
  #left = 0;

  /** `onTinyChunk` as `ChunkedDecoder` has it. */
  constructor(limits: Http1Limits, onTinyChunk?: () => void) {
    this.#chunked = new ChunkedDecoder(limits, onTinyChunk);
    this.#emit = (data) => this.#receiver?.data(data);
  }

  begin(framing: Framing, length: number | undefined): void {
    this.#framing = framing;
    this.#left = framing === "length" ? (length ?? 0) : 0;
    if (framing === "chunked") this.#chunked.reset();
  }

  /** The last byte has been read. A close-delimited body is never done: the connection's end is its end. */
  get done(): boolean {
    switch (this.#framing) {
      case "none":
        return true;
      case "length":
        return this.#left === 0;
      case "chunked":
        return this.#chunked.done;
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
    return this.#framing === "chunked" ? this.#chunked.trailers : undefined;
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
    if (this.#framing === "chunked") {
      this.#receiver = receiver;
      const stopped = this.#chunked.decode(bytes, at, end, this.#emit);
      this.#receiver = undefined;
      return stopped;
    }
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
