/** Tells V8's collector of the bytes that were read: it does not see that they wait to be freed, until they are so many that it stops everything for a full collection. */
import { collectGarbage } from "./v8.ts";

/** Bytes read after which the nursery is collected: what a body leaves behind is in there, and is nearly all dead by then. */
const READ = 8 * 1024 * 1024;

let read = 0;
let all = 0;

/** Counts what came from a socket. */
export function wasRead(octets: number): void {
  read += octets;
  all += octets;
  if (read < READ) return;
  read = 0;
  // Between two events, when little is on its way.
  setImmediate(collectNursery);
}

function collectNursery(): void {
  collectGarbage({ type: "minor" });
}

/** How many bytes of bodies this thread has read so far: small chunks, which leave hardly anything behind, are not among them. */
export function bulkRead(): number {
  return all;
}
