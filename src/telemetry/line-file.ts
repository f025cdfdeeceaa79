/** Lines to a file or to standard output, gathered: one write for some hundreds of them, and none that the event loop waits for. */
import { closeSync, openSync, write, writeSync } from "node:fs";
import type { Cancel, Clock } from "../core/clock.ts";
import { countMachineError } from "../core/machine/machine-counts.ts";

/** Bytes that are gathered before they are written: Envoy's figure. */
const GATHERED = 65_536;
/** Characters of a line, its line feed included: UTF-8 has three bytes for each at most. A longer one is left out. */
export const LONGEST_LINE: number = Math.floor(GATHERED / 3);
/** Characters of lines that are put together before they are encoded: one call for some dozens of them. */
const ENCODED = 8192;
/** Milliseconds that a line waits at most. */
const WAIT = 500;
/** Milliseconds after which a write that failed is tried again: a full pipe, a full disk. */
const AGAIN = 100;
const STANDARD_OUTPUT = 1;

export interface LineFile {
  /** Takes `line` with its line feed; false where the file takes lines more slowly than they come, and this one is left out. */
  write(line: string): boolean;
  /** Calls `fill`, which may write more lines, in half a second at the latest, and before the end. Once, the one that was given last. */
  before(fill: () => void): void;
  /** Writes what is gathered, behind what is being written, and closes the file. */
  close(): void;
}

/** Takes blocks of whole lines and writes one after the other, so that no line is broken whichever worker it comes from. */
export interface LineSink {
  /** Writes the first `length` bytes of `block` when its turn comes, and then gives it back. */
  take(block: Buffer, length: number, done: (block: Buffer) => void): void;
  /** The same for a writer that will write no more: at once where nothing is being written, since the process may be about to end. */
  last(block: Buffer, length: number): void;
  /** Closes once all is written. */
  close(): void;
}

/** Gathers lines into blocks for `sink`, which its owner closes. */
export function gatherLines(sink: LineSink, clock: Clock): LineFile {
  return new LineGatherer(sink, clock);
}

class LineGatherer implements LineFile {
  readonly #sink: LineSink;
  readonly #clock: Clock;
  // Two buffers in turn: one is filled while the other is written, and there are no more than the two (law 10).
  #filling: Buffer = Buffer.allocUnsafeSlow(GATHERED);
  #filled = 0;
  #spare: Buffer | undefined = Buffer.allocUnsafeSlow(GATHERED);
  /** Lines that are not in the buffer yet. */
  #lines = "";
  #closed = false;
  #cancel: Cancel | undefined;
  #fillFirst: (() => void) | undefined;
  readonly #onWaited = (): void => {
    this.#fill();
    this.#flush();
  };
  readonly #written = (block: Buffer): void => {
    this.#spare = block;
    if ((this.#filled > 0 || this.#lines !== "") && !this.#closed)
      this.#waitForMore();
  };

  constructor(sink: LineSink, clock: Clock) {
    this.#sink = sink;
    this.#clock = clock;
  }

  write(line: string): boolean {
    if (!this.#hasRoom(line)) this.#flush();
    if (this.#closed || !this.#hasRoom(line)) return false;
    this.#lines += line;
    if (this.#lines.length >= ENCODED) this.#encode();
    this.#waitForMore();
    return true;
  }

  before(first: () => void): void {
    this.#fillFirst = first;
    this.#waitForMore();
  }

  close(): void {
    if (this.#closed) return;
    this.#fill();
    this.#closed = true;
    this.#cancel?.();
    this.#encode();
    this.#sink.last(this.#filling, this.#filled);
  }

  /** Three bytes a character at most; to count them would take longer than to leave room for them. */
  #hasRoom(line: string): boolean {
    return this.#filled + (this.#lines.length + line.length) * 3 <= GATHERED;
  }

  #fill(): void {
    const first = this.#fillFirst;
    this.#fillFirst = undefined;
    first?.();
  }

  #encode(): void {
    this.#filled += this.#filling.write(this.#lines, this.#filled, "utf8");
    this.#lines = "";
  }

  #flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#encode();
    if (this.#filled === 0 || this.#spare === undefined) return;
    const full = this.#filling;
    const length = this.#filled;
    this.#filling = this.#spare;
    this.#filled = 0;
    this.#spare = undefined;
    this.#sink.take(full, length, this.#written);
  }

  #waitForMore(): void {
    this.#cancel ??= this.#clock.after(WAIT, this.#onWaited);
  }
}

interface Waiting {
  readonly block: Buffer;
  readonly length: number;
  readonly done: (block: Buffer) => void;
}

/** Opens `path` for appending; standard output where there is none. Throws where it cannot be opened. What waits is bounded by the writers: none gives a block before it has got the last one back. */
export function openLineSink(path: string | undefined, clock: Clock): LineSink {
  const file = path === undefined ? STANDARD_OUTPUT : openSync(path, "a");
  const waiting: Waiting[] = [];
  let busy = false;
  let closing = false;

  function next(): void {
    const first = waiting.shift();
    if (first !== undefined) send(first, 0);
    else if (closing && file !== STANDARD_OUTPUT) closeSync(file);
  }

  function send(piece: Waiting, from: number): void {
    const { block, length } = piece;
    busy = true;
    write(file, block, from, length - from, null, (error, written) => {
      if (error !== null) countMachineError("access-log", error);
      if (error !== null && !closing) {
        clock.after(AGAIN, () => send(piece, from));
        return;
      }
      if (error === null && from + written < length) {
        send(piece, from + written);
        return;
      }
      // Until it is given back, what comes meanwhile waits.
      piece.done(block);
      busy = false;
      next();
    });
  }

  return {
    take(block, length, done) {
      if (busy) waiting.push({ block, length, done });
      else send({ block, length, done }, 0);
    },
    last(block, length) {
      if (busy) {
        waiting.push({ block, length, done: nothing });
        return;
      }
      try {
        writeSync(file, block, 0, length);
      } catch (thrown) {
        countMachineError("access-log", thrown);
        // A pipe that nobody reads, a disk that is full: the process must end all the same.
      }
    },
    close() {
      if (closing) return;
      closing = true;
      if (!busy && file !== STANDARD_OUTPUT) closeSync(file);
    },
  };
}

function nothing(): void {
  // Nobody wants the block back.
}
