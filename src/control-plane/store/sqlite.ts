/** The embedded store: one SQLite file that survives a kill at any moment, held by one control plane at a time. */
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
import { MachineFault } from "../../core/machine/machine-errors.ts";
import { silentLogger, type Logger } from "../../core/log.ts";
import { watchSource, type Watch, type WatchSource } from "../../core/watch.ts";
import {
  keyOf,
  type Resource,
  type ResourceKey,
} from "../../resources/envelope.ts";
import { Branches, type KnownRevision } from "./branches.ts";
import { DatabaseClient } from "./database-client.ts";
import type { Loaded, WrittenRow } from "./database.ts";
import { Endings } from "./endings.ts";
import { follow, type History } from "./follow.ts";
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

/** Milliseconds after which a write is slow. */
const SLOW = 1000;

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

/** Opens or makes the store. Rejects with StoreError saying what is wrong with the file and what to do. */
export async function openSqliteStore(
  options: SqliteStoreOptions,
): Promise<Store> {
  const {
    file,
    history = HISTORY_LIMITS,
    audit = AUDIT_LIMITS,
    lockTimeout = 5000,
  } = options;
  const database = new DatabaseClient({ file, history, audit, lockTimeout });
  try {
    return new SqliteStore(options, database, await database.loaded);
  } catch (thrown) {
    await database.close().catch(() => undefined);
    throw thrown;
  }
}

/** Resources are read from memory, so a listing and its revision belong together. The file is for the next start; its thread alone waits for the disk. */
class SqliteStore implements Store, History {
  readonly id: string;
  readonly #clock: Clock;
  readonly #database: DatabaseClient;
  readonly #table = new ResourceTable();
  readonly #sum = new ResourceSum();
  readonly #newest: WatchSource<number>;
  readonly #recent: RecentChanges;
  readonly #endings: Endings;
  readonly #health: WriteHealth;
  readonly #slow: MachineFault;
  readonly #group: GroupCommit;
  readonly #closing = new AbortController();
  /** The history reaches from here to the newest revision. */
  #compacted: number;
  #branches: Branches;

  constructor(
    { clock, file, logger = silentLogger }: SqliteStoreOptions,
    database: DatabaseClient,
    loaded: Loaded,
  ) {
    this.#clock = clock;
    this.#database = database;
    this.#endings = new Endings(clock);
    this.id = loaded.id;
    this.#newest = watchSource(loaded.revision);
    this.#compacted = loaded.revision - loaded.rows;
    this.#branches = Branches.before(loaded.branches);
    this.#recent = new RecentChanges(loaded.revision);
    for (const resource of loaded.resources) {
      this.#table.put(keyOf(resource), resource);
      this.#sum.add(resource);
    }
    this.#sum.check(loaded.sum, loaded.revision, file);
    if (loaded.isCut)
      logger.warn(
        `the last write in ${file}-wal cannot be read and is left out: it was cut short, or the disk has damaged it; compare with your files by wherry apply --dry-run`,
      );
    this.#group = new GroupCommit({
      find: (key) => this.#table.get(key),
      newest: () => this.#newest.value,
      commit: (writes, acts) => this.#commit(writes, acts),
    });
    const probe = (): Promise<void> =>
      this.#written(this.#database.call("probe"));
    this.#health = new WriteHealth({ clock, logger, file, probe });
    this.#slow = new MachineFault({
      part: "store",
      logger,
      begins: `the disk of ${file} is slow: changes wait for it, and reads go on`,
      ends: `the disk of ${file} writes in time again`,
    });
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
    return this.#read(() => this.#database.call("audited", query));
  }

  watch(after: number, signal: AbortSignal): AsyncIterable<Change> {
    return follow(this, after, signal);
  }

  async read(after: number, limit: number): Promise<readonly Change[]> {
    this.#checkHistory(after);
    const recent = this.#recent.read(after, limit);
    if (recent !== undefined) return recent;
    const changes = await this.#read(() =>
      this.#database.call("changes", after, limit),
    );
    // Meanwhile a write may have dropped the oldest.
    this.#checkHistory(after);
    return changes;
  }

  note(name: string): Promise<string | undefined> {
    return this.#read(() => this.#database.call("note", name));
  }

  setNote(name: string, value: string): Promise<void> {
    return this.setNotes(new Map([[name, value]]));
  }

  notes(prefix: string): Promise<ReadonlyMap<string, string>> {
    return this.#read(() => this.#database.call("notes", prefix));
  }

  async setNotes(
    notes: ReadonlyMap<string, string | undefined>,
  ): Promise<void> {
    this.#checkOpen();
    await this.#written(this.#database.call("setNotes", notes));
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await this.#group.idle();
    this.#health.close();
    this.#slow.close();
    await this.#database.close();
  }

  #checkOpen(): void {
    if (this.#closing.signal.aborted)
      throw new StoreError("the store is closed");
  }

  /** Throws CompactedError where the history does not hold what came after the revision. */
  #checkHistory(after: number): void {
    const newest = this.#newest.value;
    if (after < this.#compacted || after > newest)
      throw new CompactedError(after, this.#compacted, newest);
  }

  /** Rejects with StoreError where the machine does not let it be read. */
  async #read<T>(read: () => Promise<T>): Promise<T> {
    this.#checkOpen();
    try {
      return await read();
    } catch (thrown) {
      if (thrown instanceof StoreError) countMachineError("store", thrown);
      throw thrown;
    }
  }

  /** The result of a write: what became of it, and how long it took, says how well the disk is. */
  async #written<T>(writing: Promise<T>): Promise<T> {
    const cancel = this.#clock.after(SLOW, () =>
      this.#slow.failed(new SlowDisk()),
    );
    try {
      const result = await writing;
      this.#health.well();
      return result;
    } catch (thrown) {
      if (thrown instanceof StoreError) this.#health.failed(thrown);
      throw thrown;
    } finally {
      cancel();
    }
  }

  async #write<T>(plan: Plan<T>): Promise<T> {
    this.#checkOpen();
    return this.#group.run(plan);
  }

  async #commit(writes: readonly Write[], acts: readonly Act[]): Promise<void> {
    const changes = writes.length > 0;
    const newest = this.#newest.value + writes.length;
    const branches = changes
      ? this.#branches.begin(this.#newest.value)
      : this.#branches;
    const sum = this.#sum.after(writes);
    const kept = await this.#written(
      this.#database.call("commit", {
        rows: writes.map(rowOf),
        sum: changes ? sumNote(newest, sum) : undefined,
        branches: branches === this.#branches ? undefined : branches.toString(),
        acts,
        at: this.#clock.wall(),
        erasable: this.#endings.erasable,
      }),
    );
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
    this.#compacted = newest - kept;
    this.#newest.set(newest);
  }
}

function rowOf({ key, before, after, revision }: Write): WrittenRow {
  const body = JSON.stringify(after ?? before);
  return { key, revision, type: typeOf(before, after), body };
}

class SlowDisk extends Error {
  readonly code = "SLOW";

  constructor() {
    super(`a write has taken more than ${SLOW / 1000} s so far`);
  }
}
