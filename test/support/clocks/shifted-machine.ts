/** A machine whose clock a test moves while its processes run: libfaketime, which leaves the monotonic clock alone. */
import { existsSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LIBRARIES = "/usr/lib";

/** The library, where it is installed (Debian: faketime). */
export function findFaketime(): string | undefined {
  return readdirSync(LIBRARIES)
    .map((name) => join(LIBRARIES, name, "faketime", "libfaketime.so.1"))
    .find((file) => existsSync(file));
}

export interface ShiftedMachine {
  /** For the processes that are to run on it. */
  readonly environment: Readonly<Record<string, string>>;
  /** Its clock is so many milliseconds ahead from now on, at the latest a second later. */
  shift(ms: number): void;
}

/** `directory` has the file that says how far its clock is ahead. */
export function shiftedMachine(
  directory: string,
  library: string,
): ShiftedMachine {
  const file = join(directory, "clock");
  const shift = (ms: number): void => {
    // In one step: it is read at any moment.
    writeFileSync(
      `${file}.next`,
      `${ms < 0 ? "-" : "+"}${Math.abs(ms) / 1000}`,
    );
    renameSync(`${file}.next`, file);
  };
  shift(0);
  return {
    environment: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_CACHE_DURATION: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      DONT_FAKE_MONOTONIC: "1",
    },
    shift,
  };
}
