/** What a connection sends, gathered into one write: head, framing and small bodies in a latin-1 string, large chunks by reference. */
import type { Socket } from "node:net";
import { UNBOUNDED, type Buffers } from "./buffers.ts";
import { SocketRoom } from "./socket-room.ts";

/** A chunk up to this size is copied into the text: cheaper than a second entry in a writev. */
const COPIED = 4096;
/** Text beyond this size is handed on before more is added. */
const GATHERED = 16 * 1024;

export class Output {
  readonly #socket: Socket;
  readonly #room: SocketRoom;
  /** What comes before the text, and its bytes. */
  #parts: (string | Buffer)[] = [];
  #octets = 0;
  #text = "";
  #scheduled = false;
  /** Bytes were given to the socket since the last `mark()`. */
  #sent = false;

  /** `onRoom` is called when the output was full and no longer is. */
  constructor(
    socket: Socket,
    onRoom: () => void,
    buffers: Buffers = UNBOUNDED,
  ) {
    this.#socket = socket;
    this.#room = new SocketRoom(socket, onRoom, buffers);
  }

  get full(): boolean {
    return this.#room.full;
  }

  /** Bytes that wait, here and in the socket. */
  get waiting(): number {
    return this.size + this.#socket.writableLength;
  }

  /** Bytes that the socket has not been given yet. */
  get size(): number {
    return this.#octets + this.#text.length;
  }

  /** From here on `sent` tells about what follows. */
  mark(): void {
    this.#sent = false;
  }

  /** Whether the kernel may have got anything since `mark()`. */
  get sent(): boolean {
    return this.#sent;
  }

  /** Adds text, one character a byte. It leaves with the next `flush`, at the latest at the end of this turn after `later`. */
  text(text: string): void {
    this.#text += text;
  }

  /** Adds a chunk, by reference where it is large, and the text that follows it. */
  bytes(chunk: Buffer, after = ""): void {
    if (chunk.length <= COPIED) {
      this.#text += chunk.toString("latin1") + after;
      if (this.#text.length > GATHERED) this.flush();
      return;
    }
    this.#closeText();
    this.#parts.push(chunk);
    this.#octets += chunk.length;
    this.#text = after;
    // TLS gives large ones out by 16 KiB, and a write costs more than what is in it.
    if (this.#octets >= this.#room.bulk) this.flush();
  }

  /** Flushes when this turn of the event loop has done its work, so that what it still adds goes along. */
  later(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (this.#parts.length > 0) atTurnEnd(this);
    else afterThis(this);
  }

  flush(): void {
    const parts = this.#parts;
    if (parts.length === 0) {
      const text = this.#text;
      if (text === "") return;
      this.#text = "";
      this.#write(text);
    } else {
      this.#closeText();
      this.#parts = [];
      this.#octets = 0;
      this.#socket.cork();
      for (const part of parts) this.#write(part);
      this.#socket.uncork();
    }
    this.#room.written();
  }

  #closeText(): void {
    const text = this.#text;
    if (text === "") return;
    this.#text = "";
    this.#parts.push(text);
    this.#octets += text.length;
  }

  /** What `later` asked for. Microtasks run after each piece that TLS gives out: of a large body more is to come in the same turn. */
  flushAfterThis(): void {
    if (this.#parts.length > 0) atTurnEnd(this);
    else this.flushLate();
  }

  flushLate(): void {
    this.#scheduled = false;
    this.flush();
  }

  /** Drops what has not been given to the socket yet. */
  discard(): void {
    this.#parts = [];
    this.#octets = 0;
    this.#text = "";
  }

  #write(data: string | Buffer): void {
    // After an error there is nobody to write to, and `close` is on its way.
    if (!this.#socket.writable) return;
    this.#sent = true;
    if (typeof data === "string") this.#socket.write(data, "latin1");
    else this.#socket.write(data);
  }
}

const SETTLED = Promise.resolve();

/** One callback does it for the outputs of all connections that wait for it. */
function together(
  schedule: (run: () => void) => void,
  flush: (output: Output) => void,
): (output: Output) => void {
  let waiting: Output[] = [];
  const run = (): void => {
    const outputs = waiting;
    waiting = [];
    for (const output of outputs) flush(output);
  };
  return (output) => {
    if (waiting.push(output) === 1) schedule(run);
  };
}

/** A microtask and not a tick: it spares Node's walk through its ticks after each event. */
const afterThis = together(
  (run) => {
    SETTLED.then(run, run);
  },
  (output) => {
    output.flushAfterThis();
  },
);
const atTurnEnd = together(setImmediate, (output) => {
  output.flushLate();
});
