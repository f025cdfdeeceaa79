/** Where tests keep their files: in memory, where the machine has room for them. Most wait for nothing as long as for a disk that is told to keep what it got. */
import { chmodSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";

const MEMORY = "/dev/shm";
/** Bytes that must be free there. */
const LEAST = 2 * 1024 ** 3;

export interface Scratch {
  /** What test processes need in their environment; nothing where they stay on the disk. */
  readonly environment: Readonly<Record<string, string>>;
  remove(): void;
}

export function makeScratch(): Scratch {
  if (!hasRoom()) return { environment: {}, remove: () => undefined };
  const folder = mkdtempSync(join(MEMORY, "wherry-test-"));
  // Some tests start a process of another user.
  chmodSync(folder, 0o755);
  return {
    // The second is where tap makes a folder for a test.
    environment: { TMPDIR: folder, TAP_CWD: folder },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function hasRoom(): boolean {
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    return bavail * bsize >= LEAST;
  } catch {
    return false;
  }
}
