/** What is done to the SQLite file: each call is one synchronous step, made in the thread of `database-thread.ts`. */
import { basename } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import type { WallMs } from "../../core/units.ts";
import type {
  Act,
  AuditLimits,
  AuditPage,
  AuditQuery,
} from "../audit/audit.ts";
import type { Resource, ResourceKey } from "../../resources/envelope.ts";
import { Branches } from "./branches.ts";
import type { Erasable } from "./endings.ts";
import { SqliteAudit } from "./sqlite-audit.ts";
import { asStoreError } from "./sqlite-errors.ts";
import {
  closeFailed,
  openDatabase,
  prepare,
  type ChangeType,
  type Statements,
} from "./sqlite-file.ts";
import { StoreError, type Change, type HistoryLimits } from "./store.ts";
import { stateOfWal } from "./wal.ts";

/** The note that a probe writes and removes. */
const PROBE = "probe";

export interface DatabaseOptions {
  readonly file: string;
  readonly history: HistoryLimits;
  readonly audit: AuditLimits;
  /** Milliseconds to wait for another process to let go of the file. */
  readonly lockTimeout: number;
}

/** What is in the file when it is opened. */
export interface Loaded {
  readonly id: string;
  readonly revision: number;
  readonly branches: string | undefined;
  readonly sum: string | undefined;
  /** Rows of the history. */
  readonly rows: number;
  readonly resources: readonly Resource[];
  /** The last write cannot be read. */
  readonly isCut: boolean;
}

/** One change of a resource, with its body as JSON: as it was before, where it is removed. */
export interface WrittenRow {
  readonly key: ResourceKey;
  readonly revision: number;
  readonly type: ChangeType;
  readonly body: string;
}

/** All of it or nothing. */
export interface Commit {
  readonly rows: readonly WrittenRow[];
  /** Undefined where it stays. */
  readonly sum: string | undefined;
  readonly branches: string | undefined;
  readonly acts: readonly Act[];
  readonly at: WallMs;
  readonly erasable: Erasable;
}

export class Database {
  readonly #options: DatabaseOptions;
  readonly #database: DatabaseSync;
  readonly #statements: Statements;
  readonly #audit: SqliteAudit;
  readonly #size: { rows: number; bytes: number };
  readonly loaded: Loaded;

  /** Throws StoreError saying what is wrong with the file and what to do. */
  constructor(options: DatabaseOptions) {
    const { file, lockTimeout, audit } = options;
    this.#options = options;
    const isCut = isWalCut(file);
    this.#database = openDatabase(file, lockTimeout);
    try {
      const statements = prepare(this.#database);
      this.#statements = statements;
      this.#audit = new SqliteAudit(this.#database, audit);
      this.#size = statements.historySize();
      const branches = statements.branches();
      // Damage is reported here, as that of a resource.
      Branches.before(branches);
      this.loaded = {
        id: statements.id(),
        revision: statements.revision(),
        branches,
        sum: statements.sum(),
        rows: this.#size.rows,
        resources: [...statements.all()],
        isCut,
      };
    } catch (thrown) {
      throw closeFailed(this.#database, file, thrown);
    }
  }

  /** Gives the rows that the history has now. */
  commit({ rows, sum, branches, acts, at, erasable }: Commit): number {
    this.#transaction(() => {
      if (sum !== undefined) this.#statements.setSum(sum);
      if (branches !== undefined) this.#statements.setBranches(branches);
      this.#audit.add(acts, at, erasable);
      for (const { key, revision, type, body } of rows) {
        if (type === "remove") this.#statements.remove(key);
        else this.#statements.put(key, body);
        this.#record(revision, type, body);
      }
    });
    return this.#size.rows;
  }

  setNotes(notes: ReadonlyMap<string, string | undefined>): void {
    this.#transaction(() => {
      for (const [name, value] of notes) this.#statements.setNote(name, value);
    });
  }

  /** Leaves nothing behind, and is on the disk all the same. */
  probe(): void {
    this.#transaction(() => {
      this.#statements.setNote(PROBE, PROBE);
      this.#statements.setNote(PROBE, undefined);
    });
  }

  note(name: string): string | undefined {
    return this.#read(() => this.#statements.note(name));
  }

  notes(prefix: string): ReadonlyMap<string, string> {
    return this.#read(() => this.#statements.notes(prefix));
  }

  audited(query: AuditQuery): AuditPage {
    return this.#read(() => this.#audit.read(query));
  }

  changes(after: number, limit: number): readonly Change[] {
    return this.#read(() => this.#statements.changes(after, limit));
  }

  close(): void {
    this.#database.close();
  }

  /** All of it is on the disk when this returns, or none of it ever was. Throws StoreError where the machine does not let it be written. */
  #transaction(run: () => void): void {
    const before = { ...this.#size };
    this.#audit.begin();
    try {
      // One whose end failed twice is open still.
      this.#rollBack();
      this.#database.exec("BEGIN IMMEDIATE");
      run();
      this.#database.exec("COMMIT");
    } catch (thrown) {
      Object.assign(this.#size, before);
      this.#audit.undo();
      try {
        this.#rollBack();
      } catch {
        // The next transaction begins with it.
      }
      throw asStoreError("written", thrown);
    }
  }

  /** SQLite rolls back by itself where the disk is full or failing. */
  #rollBack(): void {
    if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
  }

  /** Throws StoreError where the machine does not let it be read. */
  #read<T>(run: () => T): T {
    try {
      return run();
    } catch (thrown) {
      throw asStoreError("read", thrown);
    }
  }

  #record(revision: number, type: ChangeType, body: string): void {
    this.#statements.record(revision, type, body);
    this.#size.rows += 1;
    this.#size.bytes += Buffer.byteLength(body);
    this.#compact();
  }

  /** Takes the oldest out until the history is within its limits; the newest change always stays. */
  #compact(): void {
    const { rows, bytes } = this.#options.history;
    while (
      this.#size.rows > rows ||
      (this.#size.bytes > bytes && this.#size.rows > 1)
    ) {
      this.#size.bytes -= this.#statements.dropOldest();
      this.#size.rows -= 1;
    }
  }
}

/** SQLite leaves out what it cannot read, and writes over it. Throws StoreError where that would take more than the last write. */
function isWalCut(file: string): boolean {
  const wal = `${file}-wal`;
  const state = stateOfWal(wal);
  if (state === "damaged")
    throw new StoreError(
      `${wal} is damaged: changes that were acknowledged cannot be read. Nothing was changed. Move both files away and put a backup in their place. Or move ${basename(wal)} alone away: what it holds is lost, and you apply your files again`,
      { damaged: true },
    );
  return state === "cut";
}
