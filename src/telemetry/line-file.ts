/** Lines to a file or to standard output, gathered: one write for some hundreds of them, and none that the event loop waits for. */
import { closeSync, constants, openSync, write, writeSync } from "node:fs";
import type { Cancel, Clock } from "../core/clock.ts";
import { systemCode } from "../core/errors.ts";
import {
  countLostLine,
  countMachineError,
} from "../core/machine/machine-counts.ts";

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

export interface LogFileSink extends LineSink {
  /**
   * Goes on in the file that has the path now, once the block that is being written is. False where there is no path. Throws where that
   * file cannot be opened, and the one before stays.
   */
  reopen(): boolean;
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
  /** Bytes of it that are written. */
  from: number;
  readonly done: (block: Buffer) => void;
}

/** Opens `path` for appending; standard output where there is none. Throws where it cannot be opened. What waits is bounded by the writers: none gives a block before it has got the last one back. */
export function openLineSink(
  path: string | undefined,
  clock: Clock,
): LogFileSink {
  return new FileSink(path, clock);
}

/** A named pipe that nobody reads is an error, and not a wait. */
const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants;
const AT_ONCE = O_APPEND | O_CREAT | O_NONBLOCK | O_WRONLY;

class FileSink implements LogFileSink {
  readonly #path: string | undefined;
  #file: number;
  /** What the next block goes to, in place of `#file`. */
  #nextFile: number | undefined;
  readonly #clock: Clock;
  readonly #waiting: Waiting[] = [];
  /** A block is being written, or waits to be tried again. */
  #busy = false;
  #closing = false;
  /** Ends the pause after a write that failed; undefined where there is none. */
  #cancelPause: Cancel | undefined;

  constructor(path: string | undefined, clock: Clock) {
    this.#path = path;
    this.#file = path === undefined ? STANDARD_OUTPUT : openSync(path, "a");
    this.#clock = clock;
  }

  take(block: Buffer, length: number, done: (block: Buffer) => void): void {
    this.#waiting.push({ block, length, from: 0, done });
    if (!this.#busy) this.#next();
  }

  last(block: Buffer, length: number): void {
    const piece = { block, length, from: 0, done: nothing };
    if (!this.#busy) {
      const error = writeNow(this.#file, piece);
      if (error === undefined) return;
      countMachineError("access-log", error);
    }
    this.#waiting.push(piece);
    if (!this.#busy) this.#pause();
  }

  reopen(): boolean {
    if (this.#path === undefined || this.#closing) return false;
    const file = openSync(this.#path, AT_ONCE);
    if (this.#nextFile !== undefined) closeFile(this.#nextFile);
    this.#nextFile = file;
    if (!this.#busy) this.#changeFile();
    return true;
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#cancelPause !== undefined) this.#finish();
    else if (!this.#busy) this.#closeFile();
  }

  /** Only while nothing is being written. */
  #changeFile(): void {
    if (this.#nextFile === undefined) return;
    closeFile(this.#file);
    this.#file = this.#nextFile;
    this.#nextFile = undefined;
    // A disk that was full may have taken half a line: the whole of it goes to the new file.
    const [first] = this.#waiting;
    if (first !== undefined && first.from > 0)
      first.from = first.block.lastIndexOf("\n", first.from - 1) + 1;
  }

  #next(): void {
    this.#cancelPause = undefined;
    this.#changeFile();
    const first = this.#waiting.shift();
    this.#busy = first !== undefined;
    if (first !== undefined) this.#send(first);
    else if (this.#closing) this.#closeFile();
  }

  #send(piece: Waiting): void {
    const { block, from, length } = piece;
    write(this.#file, block, from, length - from, null, (error, written) => {
      if (error !== null) {
        countMachineError("access-log", error);
        this.#waiting.unshift(piece);
        if (this.#closing) this.#finish();
        else this.#pause();
        return;
      }
      piece.from += written;
      if (piece.from < length) {
        this.#send(piece);
        return;
      }
      // Until it is given back, what comes meanwhile waits.
      piece.done(block);
      this.#next();
    });
  }

  #pause(): void {
    this.#busy = true;
    this.#cancelPause = this.#clock.after(AGAIN, () => this.#next());
  }

  /** The process may be about to end: what waits is written now, or lost. */
  #finish(): void {
    this.#cancelPause?.();
    this.#busy = false;
    this.#changeFile();
    writeLast(this.#file, this.#waiting);
    for (const { block, done } of this.#waiting.splice(0)) done(block);
    this.#closeFile();
  }

  #closeFile(): void {
    if (this.#file !== STANDARD_OUTPUT) closeFile(this.#file);
  }
}

/** What a disk says only then is counted: the descriptor is given back all the same. */
function closeFile(file: number): void {
  try {
    closeSync(file);
  } catch (thrown) {
    countMachineError("access-log", thrown);
  }
}

/** Bytes that a pipe takes together or not at all (PIPE_BUF of Linux). */
const ATOMIC = 4096;
/** Milliseconds of a wait for a pipe to have room at the end, and such waits. */
const NAP = 10;
const NAPS = 50;

/** Writes what a reader takes within half a second, and counts the lines of the rest as lost. */
function writeLast(file: number, pieces: readonly Waiting[]): void {
  let naps = 0;
  let lost = false;
  for (const piece of pieces) {
    while (!lost) {
      const error = writeNow(file, piece);
      if (error === undefined) break;
      // A pipe that nobody reads, a disk that is full: the process must end all the same.
      lost = systemCode(error) !== "EAGAIN" || naps === NAPS;
      if (lost) countMachineError("access-log", error);
      else Atomics.wait(NEVER_WOKEN, 0, 0, NAP);
      naps += 1;
    }
    if (lost) countLostLines(piece);
  }
}

const NEVER_WOKEN = new Int32Array(new SharedArrayBuffer(4));

/** Writes what it can of the piece without waiting, line by whole line where a line is not longer than a pipe takes at once; gives why it stopped. */
function writeNow(file: number, piece: Waiting): unknown {
  const { block, length } = piece;
  try {
    while (piece.from < length) {
      const { from } = piece;
      const most = Math.min(from + ATOMIC, length);
      const whole = block.lastIndexOf("\n", most - 1) + 1;
      const end = whole > from ? whole : block.indexOf("\n", from) + 1;
      piece.from += writeSync(file, block, from, end - from);
    }
    return undefined;
  } catch (thrown) {
    return thrown;
  }
}

function countLostLines({ block, from, length }: Waiting): void {
  for (
    let at = block.indexOf("\n", from);
    at >= 0 && at < length;
    at = block.indexOf("\n", at + 1)
  )
    countLostLine("access-log");
}

function nothing(): void {
  // Nobody wants the block back.
}
