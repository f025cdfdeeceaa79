/** The watch of every store in this process: a cursor in the history, so that a slow reader costs no memory. */
import { nextTurn } from "../../core/slices.ts";
import { waitFor, type Watch } from "../../core/watch.ts";
import type { Change } from "./store.ts";

export interface History {
  /** The next changes after a revision, oldest first; empty where there are none yet. Rejects with CompactedError. */
  read(after: number, limit: number): Promise<readonly Change[]>;
  /** The newest revision. */
  readonly newest: Watch<number>;
  /** Aborts when the store closes. */
  readonly closed: AbortSignal;
}

/** Read at a time; a reader holds no more than this. */
const BATCH = 64;

export async function* follow(
  history: History,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<Change, void, undefined> {
  const stop = AbortSignal.any([signal, history.closed]);
  const over = (): boolean => stop.aborted;
  let cursor = after;
  while (!over()) {
    const batch = await history.read(cursor, BATCH);
    if (batch.length === 0 && !(await grown(history, cursor, stop))) return;
    for (const change of batch) {
      if (over()) return;
      cursor = change.revision;
      yield change;
    }
  }
}

/** True in a turn after there is something behind `cursor`: a writer and all its watchers do not hold the event loop together. False when the watch is over. */
function grown(
  history: History,
  cursor: number,
  stop: AbortSignal,
): Promise<boolean> {
  return waitFor(history.newest, (revision) => revision > cursor, stop)
    .then(nextTurn)
    .then(
      () => true,
      () => false,
    );
}
