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
  /** Writes what is gathered, behind what is being written, and closes the file. */
  close(): void;
}

/** Opens `path` for appending; standard output where there is none. Throws where it cannot be opened. */
export function openLineFile(path: string | undefined, clock: Clock): LineFile {
  const file = path === undefined ? STANDARD_OUTPUT : openSync(path, "a");
  // Two buffers in turn: one is filled while the other is written, and there are no more than the two (law 10).
  let filling: Buffer = Buffer.allocUnsafeSlow(GATHERED);
  let filled = 0;
  /** Lines that are not in the buffer yet. */
  let lines = "";
  let spare: Buffer | undefined = Buffer.allocUnsafeSlow(GATHERED);
  let closed = false;
  let cancel: Cancel | undefined;

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
    send(full, 0, length);
  }

  function send(full: Buffer, from: number, to: number): void {
    write(file, full, from, to - from, null, (error, written) => {
      if (error !== null && !closed) {
        clock.after(AGAIN, () => send(full, from, to));
        return;
      }
      if (error === null && from + written < to) {
        send(full, from + written, to);
        return;
      }
      spare = full;
      if (closed) finish();
      else if (filled > 0 || lines !== "") waitForMore();
    });
  }

  function waitForMore(): void {
    cancel ??= clock.after(WAIT, flush);
  }

  function finish(): void {
    encode();
    try {
      writeSync(file, filling, 0, filled);
    } catch {
      // A pipe that nobody reads, a disk that is full: the process must end all the same.
    }
    if (file !== STANDARD_OUTPUT) closeSync(file);
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
    close() {
      if (closed) return;
      closed = true;
      cancel?.();
      if (spare !== undefined) finish();
    },
  };
}
