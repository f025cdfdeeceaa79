/** Lines to a file or to standard output, gathered: one write for some hundreds of them, and none that the event loop waits for. */
import { closeSync, openSync, write, writeSync } from "node:fs";
import type { Cancel, Clock } from "../core/clock.ts";

/** Octets that are gathered before they are written: Envoy's figure. */
const GATHERED = 65_536;
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

/** Takes blocks of whole lines and writes one after the other, so that no line is broken whoever they come from. */
export interface LineSink {
  /** Writes the first `length` octets of `block` when its turn comes, and then gives it back. */
  take(block: Buffer, length: number, done: (block: Buffer) => void): void;
  /** The same for whoever will write no more: at once where nothing is being written, since the process may be about to end. */
  last(block: Buffer, length: number): void;
  /** Closes once all is written. */
  close(): void;
}

/** Gathers lines into blocks for `sink`, which its owner closes. */
export function gatherLines(sink: LineSink, clock: Clock): LineFile {
  // Two buffers in turn: one is filled while the other is written, and there are no more than the two (law 10).
  let filling: Buffer = Buffer.allocUnsafeSlow(GATHERED);
  let filled = 0;
  /** Lines that are not in the buffer yet. */
  let lines = "";
  let spare: Buffer | undefined = Buffer.allocUnsafeSlow(GATHERED);
  let closed = false;
  let cancel: Cancel | undefined;
  let fillFirst: (() => void) | undefined;

  function fill(): void {
    const first = fillFirst;
    fillFirst = undefined;
    first?.();
  }

  function encode(): void {
    filled += filling.write(lines, filled, "utf8");
    lines = "";
  }

  function flush(): void {
    cancel?.();
    cancel = undefined;
    encode();
    if (filled === 0 || spare === undefined) return;
    const full = filling;
    const length = filled;
    filling = spare;
    filled = 0;
    spare = undefined;
    sink.take(full, length, written);
  }

  function onWaited(): void {
    fill();
    flush();
  }

  function written(block: Buffer): void {
    spare = block;
    if ((filled > 0 || lines !== "") && !closed) waitForMore();
  }

  function waitForMore(): void {
    cancel ??= clock.after(WAIT, onWaited);
  }

  return {
    write(line) {
      // Three octets a character at most; to count them would take longer than to leave room for them.
      const most = line.length * 3;
      if (filled + lines.length * 3 + most > GATHERED) flush();
      if (closed || filled + lines.length * 3 + most > GATHERED) return false;
      lines += line;
      if (lines.length >= ENCODED) encode();
      waitForMore();
      return true;
    },
    before(first) {
      fillFirst = first;
      waitForMore();
    },
    close() {
      if (closed) return;
      fill();
      closed = true;
      cancel?.();
      encode();
      sink.last(filling, filled);
    },
  };
}

interface Waiting {
  readonly block: Buffer;
  readonly length: number;
  readonly done: (block: Buffer) => void;
}

/** Opens `path` for appending; standard output where there is none. Throws where it cannot be opened. What waits is bounded by those who write: none gives a block before it has got the last one back. */
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
      if (error !== null && !closing) {
        clock.after(AGAIN, () => send(piece, from));
        return;
      }
      if (error === null && from + written < length) {
        send(piece, from + written);
        return;
      }
      // Until it is given back, what comes meanwhile stands in line.
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
      } catch {
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
