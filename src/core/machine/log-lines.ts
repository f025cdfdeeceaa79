/** Where log lines go: standard error, in a way that neither an error of it nor a reader that stands still is felt by traffic. */
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { systemClock, type Clock } from "../clock.ts";
import { countLostLine, countMachineError } from "./machine-counts.ts";

/** Bytes of lines that wait for a full disk or pipe. What comes beyond them is left out, and counted. */
const MOST_KEPT = 1024 * 1024;
/** Milliseconds between two tries while nothing can be written. */
const AGAIN = 100;

export interface LogLines {
  write(line: string): void;
  /** One more try to write what is kept: the process is about to end. */
  flush(): void;
}

export interface LogLinesOptions {
  /** File descriptor: 2 for standard error. */
  readonly descriptor: number;
  /** The line that tells of `lost` lines that were left out, with its line feed. */
  readonly tell: (lost: number) => string;
  readonly clock?: Clock;
}

/** Lines to `descriptor`, whole and in their order. Never throws, whatever the system says of a write. */
export function openLogLines(options: LogLinesOptions): LogLines {
  const { tell, clock = systemClock } = options;
  const file = withoutWaiting(options.descriptor);
  let kept: Buffer[] = [];
  let keptBytes = 0;
  let lost = 0;
  let waits = false;

  function keep(rest: Buffer): void {
    kept.push(rest);
    keptBytes += rest.length;
    if (waits) return;
    waits = true;
    clock.after(AGAIN, () => {
      waits = false;
      flush();
    });
  }

  function flush(): void {
    const rest = unwritten(file, Buffer.concat(kept));
    kept = [];
    keptBytes = 0;
    if (rest.length > 0) keep(rest);
    else if (lost > 0) {
      const line = tell(lost);
      lost = 0;
      write(line);
    }
  }

  function write(line: string): void {
    const bytes = Buffer.from(line);
    if (keptBytes + bytes.length > MOST_KEPT) {
      lost++;
      countLostLine("log");
      return;
    }
    const rest = keptBytes === 0 ? unwritten(file, bytes) : bytes;
    if (rest.length > 0) keep(rest);
  }

  return { write, flush };
}

/** What of `bytes` could not be written. */
function unwritten(file: number, bytes: Buffer): Buffer {
  let rest = bytes;
  try {
    while (rest.length > 0) rest = rest.subarray(writeSync(file, rest));
  } catch (thrown) {
    // A full disk (ENOSPC), a full pipe (EAGAIN), an error of the device: there is no other place to tell of it.
    countMachineError("log", thrown);
  }
  return rest;
}

/**
 * A descriptor of the same pipe or terminal whose writes fail where they would have to wait: one of our own, since the flag belongs to
 * whatever else has it open as well. A file never waits for a reader. A socket (systemd's
 * journal) cannot be opened anew, and has the flag already: pino looks at `process.stderr`, whose making sets it.
 */
function withoutWaiting(descriptor: number): number {
  try {
    const found = fstatSync(descriptor);
    if (!found.isFIFO() && !found.isCharacterDevice()) return descriptor;
    const { O_WRONLY, O_NONBLOCK } = constants;
    return openSync(`/proc/self/fd/${descriptor}`, O_WRONLY | O_NONBLOCK);
  } catch {
    return descriptor;
  }
}
