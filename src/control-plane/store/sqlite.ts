/** The embedded store: one SQLite file that survives a kill at any moment, held by one control plane at a time. */
import type { Clock } from "../../core/clock.ts";
import { watchSource } from "../../core/watch.ts";
import {
  keyOf,
  type Resource,
  type ResourceKey,
} from "../../resources/envelope.ts";
import { follow } from "./follow.ts";
import { openDatabase, prepare, type ChangeType } from "./sqlite-file.ts";
import {
  CompactedError,
  HISTORY_LIMITS,
  StoreError,
  type Change,
  type Expected,
  type HistoryLimits,
  type Store,
} from "./store.ts";
import { checkExpected, nextVersion, step } from "./write.ts";

export interface SqliteStoreOptions {
  /** The database file; made, with its directory, where it is missing. */
  readonly file: string;
  readonly clock: Clock;
  readonly history?: HistoryLimits;
  /** Milliseconds to wait for another process to let go of the file; 5,000 where absent. */
  readonly lockTimeout?: number;
}

/** Opens or makes the store. Throws StoreError saying what is wrong with the file and what to do. */
export function openSqliteStore(options: SqliteStoreOptions): Store {
  const { clock, file, history: limits = HISTORY_LIMITS } = options;
  const database = openDatabase(file, options.lockTimeout ?? 5000);
  const statements = prepare(database);
  const id = statements.id();
  const newest = watchSource(statements.revision());
  const closing = new AbortController();
  const size = statements.historySize();

  const checkOpen = (): void => {
    if (closing.signal.aborted) throw new StoreError("the store is closed");
  };

  /** Takes the oldest out until the history is within its limits; the newest change always stays. */
  const compact = (): void => {
    while (
      size.rows > limits.rows ||
      (size.bytes > limits.bytes && size.rows > 1)
    ) {
      size.bytes -= statements.dropOldest();
      size.rows -= 1;
    }
  };

  const record = (revision: number, type: ChangeType, body: string) => {
    statements.record(revision, type, body);
    size.rows += 1;
    size.bytes += Buffer.byteLength(body);
    compact();
  };

  /** All of it is on the disk when this returns, or none of it ever was. */
  const transaction = <T>(run: () => T): T => {
    checkOpen();
    const before = { ...size };
    database.exec("BEGIN IMMEDIATE");
    try {
      const result = run();
      database.exec("COMMIT");
      return result;
    } catch (thrown) {
      Object.assign(size, before);
      // SQLite has rolled back by itself where the disk is full or failing.
      if (database.isTransaction) database.exec("ROLLBACK");
      throw thrown;
    }
  };

  const put = (resource: Resource, expected: Expected): Resource => {
    const revision = newest.value + 1;
    const written = transaction(() => {
      const key = keyOf(resource);
      const current = statements.get(key);
      checkExpected(key, expected, current);
      const next = nextVersion(current, resource, revision, clock);
      if (next === undefined) return current ?? resource;
      const body = JSON.stringify(next);
      statements.put(key, body);
      record(revision, current === undefined ? "create" : "update", body);
      return next;
    });
    // Watchers may look only once the change cannot be lost any more.
    if (written.metadata.resourceVersion === String(revision))
      newest.set(revision);
    return written;
  };

  const remove = (key: ResourceKey, expected?: number): number => {
    const revision = newest.value + 1;
    const removed = transaction(() => {
      const current = statements.get(key);
      checkExpected(key, expected, current);
      if (current === undefined) return false;
      statements.remove(key);
      record(revision, "remove", JSON.stringify(current));
      return true;
    });
    if (removed) newest.set(revision);
    return newest.value;
  };

  const read = (after: number, limit: number): readonly Change[] => {
    const compacted = newest.value - size.rows;
    if (after < compacted || after > newest.value)
      throw new CompactedError(after, compacted, newest.value);
    return statements.changes(after, limit);
  };

  // Each operation is one synchronous step, so a listing and its revision belong together.
  return {
    id,
    revision: () => step(() => newest.value),
    get: (key) =>
      step(() => {
        checkOpen();
        return statements.get(key);
      }),
    list: (kind, namespace) =>
      step(() => {
        checkOpen();
        return {
          resources: statements.list(kind, namespace),
          revision: newest.value,
        };
      }),
    put: (resource, expected) => step(() => put(resource, expected)),
    remove: (key, expected) => step(() => remove(key, expected)),
    watch: (after, signal) =>
      follow({ read, newest, closed: closing.signal }, after, signal),
    close: () =>
      step(() => {
        if (closing.signal.aborted) return;
        closing.abort();
        database.close();
      }),
  };
}
