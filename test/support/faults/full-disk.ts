/** For tests: a disk that is full. Real ones: a small file system of memory, and the limit on the size of a file. */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SmallDisk {
  readonly directory: string;
  unmount(): void;
}

/** A file system of `bytes`, which root alone may mount; undefined where that is not allowed. */
export function smallDisk(bytes: number): SmallDisk | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  // Not among the fixtures of a test: one that is killed leaves it mounted.
  const directory = mkdtempSync(join(tmpdir(), "wherry-disk-"));
  try {
    const options = `size=${bytes},mode=700`;
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", directory], {
      stdio: "ignore",
    });
  } catch {
    // A container without the right to.
    rmSync(directory, { recursive: true });
    return undefined;
  }
  return {
    directory,
    unmount() {
      // What is open in it does not keep it.
      execFileSync("umount", ["--lazy", directory]);
      rmSync(directory, { recursive: true });
    },
  };
}

/** Takes all the room there is left. Call the result to give it back. */
export function fill(directory: string): () => void {
  const path = join(directory, "filler");
  const file = openSync(path, "w");
  for (let size = 1024 * 1024; size > 0; size = Math.floor(size / 2))
    try {
      for (;;) writeSync(file, Buffer.alloc(size));
    } catch {
      // Full, but for less than that.
    }
  if (fstatSync(file).size === 0) throw new Error("nothing was free");
  closeSync(file);
  return () => rmSync(path);
}

/** No file of the process grows beyond `bytes` from now on. Call the result to lift that. */
export function limitFileSize(pid: number, bytes: number): () => void {
  const limit = (value: string): void => {
    execFileSync("prlimit", ["--pid", String(pid), `--fsize=${value}:`]);
  };
  if (pid === process.pid) {
    // The test runner ends itself by this signal, which Node ignores.
    process.removeAllListeners("SIGXFSZ");
    process.on("SIGXFSZ", nothing);
  }
  limit(String(bytes));
  return () => limit("unlimited");
}

function nothing(): void {
  // The write itself fails, with EFBIG.
}
