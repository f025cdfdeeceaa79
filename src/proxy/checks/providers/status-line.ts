/**
 * The status that the response on one connection begins with, as soon as its line is there. An HTTP client tells of a response when its
 * whole head is read and well-formed; a denial is one before that, and whatever its head comes to.
 */
import type { Socket } from "node:net";

/** RFC 9112 4; servers that begin with an empty line are read leniently, as the client reads them. */
const LINE = /^[\r\n]*HTTP\/\d\.\d +(\d{3})/;
/** Characters of interim responses and of the line: what comes behind them is not kept. */
const MOST = 16_384;

export class StatusLine {
  /** What the final response has, once its line has come. */
  status: number | undefined;
  #text = "";

  /** Another request goes out. */
  begin(): void {
    this.status = undefined;
    this.#text = "";
  }

  take(chunk: Buffer): void {
    if (this.status !== undefined || this.#text.length >= MOST) return;
    this.#text += chunk.toString("latin1", 0, MOST - this.#text.length);
    for (;;) {
      const [, digits] = LINE.exec(this.#text) ?? [];
      if (digits === undefined) return;
      const status = Number(digits);
      if (status >= 200) {
        this.status = status;
        return;
      }
      const end = this.#text.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.#text = this.#text.slice(end + 4);
    }
  }

  /** Sees what is read of `socket`, before its reader does. */
  watch(socket: Socket): void {
    const read = socket.read.bind(socket);
    socket.read = (size?: number): unknown => {
      const chunk: unknown = read(size);
      if (Buffer.isBuffer(chunk)) this.take(chunk);
      return chunk;
    };
  }
}
