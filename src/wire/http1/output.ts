/** What a connection sends: head, framing and small bodies gathered into one latin-1 string and one write, large chunks by reference. */
import type { Socket } from "node:net";

/** A chunk up to this size is copied into the text: cheaper than a second entry in a writev. */
const COPIED = 4096;
/** Text beyond this size is handed on before more is added. */
const GATHERED = 16 * 1024;

/**
 * "Full" means that the socket holds at least its high-water mark (Node's 64 KiB) in user space after a write. That the
 * kernel took everything at once does not make it full, though Node's own `write` then says false as well.
 */
export class Output {
  readonly #socket: Socket;
  #text = "";
  #scheduled = false;
  #full = false;
  /** Octets were given to the socket since the last `mark()`. */
  #sent = false;

  /** `onRoom` is called when the output was full and no longer is. */
  constructor(socket: Socket, onRoom: () => void) {
    this.#socket = socket;
    socket.on("drain", () => {
      if (!this.#full) return;
      this.#full = false;
      onRoom();
    });
  }

  get full(): boolean {
    return this.#full;
  }

  /** From here on `sent` tells about what follows. */
  mark(): void {
    this.#sent = false;
  }

  /** Whether the kernel may have got anything since `mark()`. */
  get sent(): boolean {
    return this.#sent;
  }

  /** Adds text, one character an octet. It leaves with the next `flush`, at the latest at the end of this turn after `later`. */
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
    const before = this.#text;
    this.#text = "";
    if (before === "" && after === "") this.#write(chunk);
    else {
      this.#socket.cork();
      if (before !== "") this.#write(before);
      this.#write(chunk);
      if (after !== "") this.#write(after);
      this.#socket.uncork();
    }
    this.#judge();
  }

  /** Flushes when this turn of the event loop has done its work, so that what it still adds goes along. */
  later(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (due.push(this) === 1) process.nextTick(flushDue);
  }

  flush(): void {
    const text = this.#text;
    if (text === "") return;
    this.#text = "";
    this.#write(text);
    this.#judge();
  }

  /** What `later` asked for. */
  flushLate(): void {
    this.#scheduled = false;
    this.flush();
  }

  /** Drops what has not been given to the socket yet. */
  discard(): void {
    this.#text = "";
  }

  /** Only `drain` takes it back: otherwise a write just before that event would swallow it. */
  #judge(): void {
    if (this.#socket.writableLength >= this.#socket.writableHighWaterMark)
      this.#full = true;
  }

  #write(data: string | Buffer): void {
    // After an error there is nobody to write to, and `close` is on its way.
    if (!this.#socket.writable) return;
    this.#sent = true;
    if (typeof data === "string") this.#socket.write(data, "latin1");
    else this.#socket.write(data);
  }
}

/** The outputs of all connections that are to be flushed at the end of this turn: one tick serves them all. */
let due: Output[] = [];

function flushDue(): void {
  const outputs = due;
  due = [];
  for (const output of outputs) output.flushLate();
}
