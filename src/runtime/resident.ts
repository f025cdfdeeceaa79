/** How much memory of the process is resident, also while the system cannot tell. */
import type { Bytes } from "../core/units.ts";

let last: Bytes = 0;

/**
 * The system tells it by a file, which cannot be opened while the process is out of file handles (EMFILE, ENFILE): then it is what it was at
 * the last look. Never throws: it is read in timers, where an error would end the process.
 */
export function residentBytes(): Bytes {
  try {
    last = process.memoryUsage.rss();
  } catch {
    // The last one serves.
  }
  return last;
}
