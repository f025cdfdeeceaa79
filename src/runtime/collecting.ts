/** Tells V8's collector of the bytes that were read: it does not see that they wait to be freed, until they are so many that it stops everything for a full collection. */
import { collectGarbage } from "./v8.ts";

/** Bytes read after which the nursery is collected: what a body leaves behind is in there, and is nearly all dead by then. */
const READ = 8 * 1024 * 1024;

let read = 0;
let made = 0;
/** A collection waits for the end of this turn of the event loop. */
let isDue = false;

/** Counts what came from a socket. */
export function wasRead(octets: number): void {
  read += octets;
  if (read < READ) return;
  read = 0;
  // In one turn hundreds of sockets may bring as much again and again.
  if (isDue) collectNursery();
  else {
    isDue = true;
    // Between two events, when little is on its way.
    setImmediate(collectIfDue);
  }
}

function collectIfDue(): void {
  if (isDue) collectNursery();
}

function collectNursery(): void {
  isDue = false;
  collectGarbage({ type: "minor" });
}

/** Counts a buffer of a socket's own: many reads go there, and it is old by the time that the last of them is freed. */
export function madeBuffer(octets: number): void {
  made += octets;
  wasRead(octets);
}

/** Bytes of such buffers that this thread has made so far. What is copied dies in the nursery, and leaves nothing behind. */
export function madeBytes(): number {
  return made;
}
