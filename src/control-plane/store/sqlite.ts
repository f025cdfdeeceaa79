/** The embedded store: one SQLite file that survives a kill at any moment, held by one control plane at a time. */
import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "../../core/clock.ts";
import {
  AUDIT_LIMITS,
  type Act,
  type AuditLimits,
  type AuditPage,
  type AuditQuery,
  type Author,
} from "../audit/audit.ts";
import { countMachineError } from "../../core/machine/machine-counts.ts";
import { silentLogger, type Logger } from "../../core/log.ts";
import { watchSource, type Watch, type WatchSource } from "../../core/watch.ts";
import {
  keyOf,
  type Resource,
  type ResourceKey,
} from "../../resources/envelope.ts";
import { Branches, type KnownRevision } from "./branches.ts";
import { follow, type History } from "./follow.ts";
import { SqliteAudit } from "./sqlite-audit.ts";
import { asStoreError } from "./sqlite-errors.ts";
import {
  closeFailed,
  openDatabase,
  prepare,
  type ChangeType,
  type Statements,
} from "./sqlite-file.ts";
import {
  CompactedError,
  HISTORY_LIMITS,
  StoreError,
  type Change,
  type Done,
  type Expected,
  type HistoryLimits,
  type Listing,
  type Put,
  type Removal,
  type Store,
} from "./store.ts";
import { GroupCommit, type Plan, type Write } from "./group-commit.ts";
import { RecentChanges } from "./recent-changes.ts";
import { ResourceSum, sumNote } from "./resource-sum.ts";
import { ResourceTable } from "./table.ts";
import {
  actsOf,
  planPuts,
  planRemovals,
  putOne,
  removedOf,
  step,
  typeOf,
  withoutAfter,
  writesOf,
} from "./write.ts";
import { WriteHealth } from "./write-health.ts";

/** The note that a try writes and removes. */
const PROBE = "probe";

export interface SqliteStoreOptions {
  /** The database file; made, with its directory, where it is missing. */
  readonly file: string;
  readonly clock: Clock;
  readonly logger?: Logger;
  readonly history?: HistoryLimits;
  readonly audit?: AuditLimits;
  /** Milliseconds to wait for another process to let go of the file; 5,000 where absent. */
  readonly lockTimeout?: number;
}

/** Opens or makes the store. Throws StoreError saying what is wrong with the file and what to do. */
export function openSqliteStore(options: SqliteStoreOptions): Store {
  return new SqliteStore(options);
}

/** Each read is one synchronous step, so a listing and its revision belong together. Resources are read from memory; the file is for the next start. */
class SqliteStore implements Store, History {
  readonly id: string;
  readonly #clock: Clock;
  readonly #limits: HistoryLimits;
  readonly #database: DatabaseSync;
  readonly #statements: Statements;
  readonly #table = new ResourceTable();
  readonly #sum = new ResourceSum();
  readonly #newest: WatchSource<number>;
  readonly #recent: RecentChanges;
  readonly #size: { rows: number; bytes: number };
  readonly #audit: SqliteAudit;
  readonly #health: WriteHealth;
  readonly #group: GroupCommit;
  readonly #closing = new AbortController();
  #branches: Branches;

  constructor(options: SqliteStoreOptions) {
    const {
      clock,
      file,
      logger = silentLogger,
      history = HISTORY_LIMITS,
      audit = AUDIT_LIMITS,
      lockTimeout = 5000,
    } = options;
    this.#clock = clock;
    this.#limits = history;
    this.#database = openDatabase(file, lockTimeout);
    try {
      this.#statements = prepare(this.#database);
      this.#audit = new SqliteAudit(this.#database, audit, clock);
      this.id = this.#statements.id();
      this.#newest = watchSource(this.#statements.revision());
      this.#branches = Branches.before(this.#statements.branches());
      this.#recent = new RecentChanges(this.#newest.value);
      this.#size = this.#statements.historySize();
      for (const resource of this.#statements.all()) {
        this.#table.put(keyOf(resource), resource);
        this.#sum.add(resource);
      }
      this.#sum.check(this.#statements.sum(), this.#newest.value, file);
    } catch (thrown) {
      throw closeFailed(this.#database, file, thrown);
    }
    this.#group = new GroupCommit({
      clock,
      find: (key) => this.#table.get(key),
      newest: () => this.#newest.value,
      commit: (writes, acts) => this.#commit(writes, acts),
    });
    const probe = (): void => this.#probe();
    this.#health = new WriteHealth({ clock, logger, file, probe });
  }

  get fault(): string | undefined {
    return this.#health.fault;
  }

  get branch(): string {
    return this.#branches.present;
  }

  has(known: KnownRevision): boolean {
    return this.#branches.have(known, this.#newest.value);
  }

  get newest(): Watch<number> {
    return this.#newest;
  }

  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  revision(): Promise<number> {
    return step(() => this.#newest.value);
  }

  get(key: ResourceKey): Promise<Resource | undefined> {
    return step(() => {
      this.#checkOpen();
      return this.#table.get(key);
    });
  }

  list(kind: string, namespace?: string): Promise<Listing> {
    return step(() => {
      this.#checkOpen();
      return {
        resources: this.#table.list(kind, namespace),
        revision: this.#newest.value,
      };
    });
  }

  put(
    resource: Resource,
    expected: Expected,
    author?: Author,
  ): Promise<Resource> {
    return putOne(this, resource, expected, author);
  }

  transact(puts: readonly Put[], author?: Author): Promise<readonly Done[]> {
    return this.#write((find, newest) => {
      const planned = planPuts(puts, find, newest, this.#clock.wall());
      const acts = actsOf(author, planned);
      return { writes: writesOf(planned), acts, result: planned };
    });
  }

  remove(
    key: ResourceKey,
    expected?: number,
    author?: Author,
  ): Promise<number> {
    return this.#write((find, newest) => {
      const planned = planRemovals([{ key, expected }], find, newest);
      return {
        writes: planned.map(withoutAfter),
        acts: actsOf(author, planned),
        result: planned[0]?.revision ?? newest,
      };
    });
  }

  removeAll(
    removals: readonly Removal[],
    author?: Author,
  ): Promise<readonly (Resource | undefined)[]> {
    return this.#write((find, newest) => {
      const planned = planRemovals(removals, find, newest);
      return {
        writes: planned.map(withoutAfter),
        acts: actsOf(author, planned),
        result: removedOf(removals, planned),
      };
    });
  }

  record(acts: readonly Act[]): Promise<void> {
    return this.#write(() => ({ writes: [], acts, result: undefined }));
  }

  audited(query: AuditQuery): Promise<AuditPage> {
    return step(() => {
      this.#checkOpen();
      return this.#read(() => this.#audit.read(query));
    });
  }

  watch(after: number, signal: AbortSignal): AsyncIterable<Change> {
    return follow(this, after, signal);
  }

  read(after: number, limit: number): readonly Change[] {
    const newest = this.#newest.value;
    const compacted = newest - this.#size.rows;
    if (after < compacted || after > newest)
      throw new CompactedError(after, compacted, newest);
    return (
      this.#recent.read(after, limit) ??
      this.#read(() => this.#statements.changes(after, limit))
    );
  }

  note(name: string): Promise<string | undefined> {
    return step(() => {
      this.#checkOpen();
      return this.#read(() => this.#statements.note(name));
    });
  }

  setNote(name: string, value: string): Promise<void> {
    return this.setNotes(new Map([[name, value]]));
  }

  notes(prefix: string): Promise<ReadonlyMap<string, string>> {
    return step(() => {
      this.#checkOpen();
      return this.#read(() => this.#statements.notes(prefix));
    });
  }

  setNotes(notes: ReadonlyMap<string, string | undefined>): Promise<void> {
    return step(() =>
      this.#transaction(() => {
        for (const [name, value] of notes)
          this.#statements.setNote(name, value);
      }),
    );
  }

  close(): Promise<void> {
    return step(() => {
      if (this.#closing.signal.aborted) return;
      this.#group.flush();
      this.#closing.abort();
      this.#health.close();
      this.#database.close();
    });
  }

  #checkOpen(): void {
    if (this.#closing.signal.aborted)
      throw new StoreError("the store is closed");
  }

  /** All of it is on the disk when this returns, or none of it ever was. Throws StoreError where the machine does not let it be written. */
  #transaction<T>(run: () => T): T {
    this.#checkOpen();
    const before = { ...this.#size };
    this.#audit.begin();
    try {
      // One whose end failed twice is open still.
      this.#rollBack();
      this.#database.exec("BEGIN IMMEDIATE");
      const result = run();
      this.#database.exec("COMMIT");
      this.#health.well();
      return result;
    } catch (thrown) {
      Object.assign(this.#size, before);
      this.#audit.undo();
      const error = asStoreError("written", thrown);
      try {
        this.#rollBack();
      } catch {
        // The next transaction begins with it.
      }
      if (error instanceof StoreError) this.#health.failed(error);
      throw error;
    }
  }

  /** SQLite rolls back by itself where the disk is full or failing. */
  #rollBack(): void {
    if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
  }

  /** Leaves nothing behind, and is on the disk all the same. */
  #probe(): void {
    this.#transaction(() => {
      this.#statements.setNote(PROBE, PROBE);
      this.#statements.setNote(PROBE, undefined);
    });
  }

  /** Throws StoreError where the machine does not let it be read. */
  #read<T>(run: () => T): T {
    try {
      return run();
    } catch (thrown) {
      const error = asStoreError("read", thrown);
      if (error instanceof StoreError) countMachineError("store", error);
      throw error;
    }
  }

  async #write<T>(plan: Plan<T>): Promise<T> {
    this.#checkOpen();
    return this.#group.run(plan);
  }

  #commit(writes: readonly Write[], acts: readonly Act[]): void {
    const before = this.#branches;
    const branches =
      writes.length > 0 ? before.begin(this.#newest.value) : before;
    const sum = this.#sum.after(writes);
    this.#transaction(() => {
      if (writes.length > 0)
        this.#statements.setSum(
          sumNote(this.#newest.value + writes.length, sum),
        );
      if (branches !== before)
        this.#statements.setBranches(branches.toString());
      this.#audit.add(acts, this.#clock.wall());
      for (const { key, before, after, revision } of writes) {
        const body = JSON.stringify(after ?? before);
        if (after === undefined) this.#statements.remove(key);
        else this.#statements.put(key, body);
        this.#record(revision, typeOf(before, after), body);
      }
    });
    this.#branches = branches;
    this.#sum.set(sum);
    // Readers and watchers may look only once the changes cannot be lost any more.
    for (const { key, before, after, revision } of writes) {
      if (after === undefined) this.#table.remove(key);
      else this.#table.put(key, after);
      const resource = after ?? before;
      if (resource === undefined) continue;
      const type = after === undefined ? "remove" : "put";
      const created = before === undefined;
      this.#recent.add({ revision, type, created, resource });
    }
    this.#newest.set(this.#newest.value + writes.length);
  }

  #record(revision: number, type: ChangeType, body: string): void {
    this.#statements.record(revision, type, body);
    this.#size.rows += 1;
    this.#size.bytes += Buffer.byteLength(body);
    this.#compact();
  }

  /** Takes the oldest out until the history is within its limits; the newest change always stays. */
  #compact(): void {
    const { rows, bytes } = this.#limits;
    while (
      this.#size.rows > rows ||
      (this.#size.bytes > bytes && this.#size.rows > 1)
    ) {
      this.#size.bytes -= this.#statements.dropOldest();
      this.#size.rows -= 1;
    }
  }
}
