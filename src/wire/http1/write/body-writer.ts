/** The body of the message that a connection is sending, in the framing that its head announced, and never another length than announced. */
import type { Fields } from "../../fields.ts";
import { fieldLines } from "./encode.ts";
import type { Framing } from "../parse/header-section.ts";
import { Http1Fault } from "../fault.ts";
import type { Output } from "../../socket-output.ts";

/** One a connection, made ready for each message. */
export class BodyWriter {
  readonly #output: Output;
  #framing: Framing = "none";
  #left = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  /** With "none" (the response to HEAD, 204, 304) what is written is dropped: the head is all there is (RFC 9110 6.4.1). */
  begin(framing: Framing, length: number | undefined): void {
    this.#framing = framing;
    this.#left = length ?? 0;
  }

  get framing(): Framing {
    return this.#framing;
  }

  /** Throws `Http1Fault` where the chunk goes past the announced length; nothing of it is sent then. */
  write(chunk: Buffer): void {
    // Nothing to say; and as a chunk, its size would be the end of the body.
    if (chunk.length === 0) return;
    switch (this.#framing) {
      case "none":
        return;
      case "length":
        if (chunk.length > this.#left)
          throw new Http1Fault("grammar", "a body longer than announced");
        this.#left -= chunk.length;
        this.#output.bytes(chunk);
        return;
      case "chunked":
        this.#output.text(`${chunk.length.toString(16)}\r\n`);
        this.#output.bytes(chunk, "\r\n");
        return;
      case "close":
        this.#output.bytes(chunk);
    }
  }

  /** Throws `Http1Fault` where bytes are missing. Trailers need the chunked coding; without it they are left out (RFC 9110 6.5.1). */
  end(trailers: Fields | undefined): void {
    if (this.#framing === "length" && this.#left > 0)
      throw new Http1Fault("grammar", "a body shorter than announced");
    if (this.#framing === "chunked")
      this.#output.text(
        trailers === undefined
          ? "0\r\n\r\n"
          : `0\r\n${fieldLines(trailers)}\r\n`,
      );
  }
}
