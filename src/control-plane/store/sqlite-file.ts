/** The SQLite file itself: its making, its checks at opening, and the prepared statements that the store runs on it. */
import { randomUUID } from "node:crypto";
import { chmodSync, closeSync, mkdirSync, openSync } from "node:fs";
import { basename, dirname } from "node:path";
import { DatabaseSync, type SQLOutputValue } from "node:sqlite";
import { messageOf } from "../../core/errors.ts";
import type { Resource, ResourceKey } from "../../resources/envelope.ts";
import { AUDIT_SCHEMA } from "./sqlite-audit.ts";
import { findings, isDamage } from "./sqlite-errors.ts";
import { StoreError, type Change } from "./store.ts";

/** "WHRY": tells a database of ours from any other. */
const APPLICATION_ID = 0x57485259;
const SCHEMA_VERSION = 1;
/** How notes begin in the table that has the store's id too. */
const NOTE = "note:";
const BRANCHES = "branches";
const SUM = "sum";
/** Behind every other character in the order of names. */
const LAST = "\u{10ffff}";

// The newest change always stays in the history, so its revision is the store's.
const SCHEMA = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
  CREATE TABLE resources (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, namespace, name)
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE history (
    revision INTEGER PRIMARY KEY, type TEXT NOT NULL, body TEXT NOT NULL
  ) STRICT;
`;

/** Throws StoreError saying what is wrong with the file and what to do. */
export function openDatabase(file: string, lockTimeout: number): DatabaseSync {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    // Made here so that it is never readable to others; SQLite gives its side files the same mode.
    closeSync(openSync(file, "a", 0o600));
    chmodSync(file, 0o600);
    const database = new DatabaseSync(file, { timeout: lockTimeout });
    try {
      setUp(database, file);
    } catch (thrown) {
      throw closeFailed(database, file, thrown);
    }
    return database;
  } catch (thrown) {
    throw cannotOpen(file, thrown);
  }
}

/** Closes a database that cannot be used; what is wrong with it, and what to do. */
export function closeFailed(
  database: DatabaseSync,
  file: string,
  thrown: unknown,
): StoreError {
  const found = isDamaged(thrown) ? findings(database) : undefined;
  database.close();
  return cannotOpen(file, thrown, found);
}

function cannotOpen(file: string, thrown: unknown, found?: string): StoreError {
  if (thrown instanceof StoreError) return thrown;
  const message = messageOf(thrown);
  if (isDamaged(thrown))
    return new StoreError(
      `${file} is damaged or not a database (${message}${found === undefined ? "" : `; its check found: ${found}`}). Nothing was changed. Move it and ${basename(file)}-wal away, both of them. Then put a backup in their place, or start empty and apply your files again`,
      { cause: thrown, damaged: true },
    );
  return new StoreError(
    message.includes("locked")
      ? `${file} is in use by another process: stop the other control plane, or give this one another state directory`
      : `${file} cannot be opened: ${message}`,
    { cause: thrown },
  );
}

/** A body that is not JSON is damage, too. */
function isDamaged(thrown: unknown): boolean {
  return thrown instanceof SyntaxError || isDamage(thrown);
}

function setUp(database: DatabaseSync, file: string): void {
  // The exclusive lock goes with the process, however that ends; it keeps a second control plane from the same history.
  database.exec("PRAGMA locking_mode = EXCLUSIVE");
  const version = pragma(database, "user_version");
  const application = pragma(database, "application_id");
  const empty = pragma(database, "schema_version") === 0;
  if (!empty && application !== APPLICATION_ID)
    throw new StoreError(
      `${file} is a database of another program: give another state directory`,
    );
  if (!empty && version !== SCHEMA_VERSION)
    throw new StoreError(
      `${file} has schema version ${version}, and this Wherry reads version ${SCHEMA_VERSION}: use the Wherry that wrote it`,
    );
  // Only now that it is known to be ours: the mode is written into the file.
  database.exec("PRAGMA journal_mode = WAL");
  database.exec("PRAGMA synchronous = FULL");
  database.exec("BEGIN EXCLUSIVE");
  if (empty) {
    database.exec(SCHEMA);
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    database
      .prepare("INSERT INTO meta (name, value) VALUES ('id', ?)")
      .run(randomUUID());
  }
  database.exec(AUDIT_SCHEMA);
  database.exec("COMMIT");
}

function pragma(database: DatabaseSync, name: string): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name]);
}

/** How the history names what happened. */
export type ChangeType = "create" | "update" | "remove";

export interface Statements {
  id(): string;
  /** The text of the branches of its history; undefined before the first. */
  branches(): string | undefined;
  setBranches(text: string): void;
  /** The note of the sum of its resources; undefined before the first. */
  sum(): string | undefined;
  setSum(note: string): void;
  note(name: string): string | undefined;
  notes(prefix: string): Map<string, string>;
  /** Undefined removes it. */
  setNote(name: string, value: string | undefined): void;
  /** The newest revision; 0 before the first write. */
  revision(): number;
  historySize(): { rows: number; bytes: number };
  all(): Iterable<Resource>;
  put(key: ResourceKey, body: string): void;
  remove(key: ResourceKey): void;
  record(revision: number, type: ChangeType, body: string): void;
  changes(after: number, limit: number): Change[];
  /** Drops the oldest change and gives the bytes of its body. */
  dropOldest(): number;
}

export function prepare(database: DatabaseSync): Statements {
  const id = database.prepare("SELECT value FROM meta WHERE name = 'id'");
  const revision = database.prepare(
    "SELECT MAX(revision) AS value FROM history",
  );
  const size = database.prepare(
    "SELECT COUNT(*) AS count, TOTAL(OCTET_LENGTH(body)) AS bytes FROM history",
  );
  const put = database.prepare(
    "INSERT INTO resources (kind, namespace, name, body) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
  );
  const remove = database.prepare(
    "DELETE FROM resources WHERE kind = ? AND namespace = ? AND name = ?",
  );
  const record = database.prepare(
    "INSERT INTO history (revision, type, body) VALUES (?, ?, ?)",
  );
  const changes = database.prepare(
    "SELECT revision, type, body FROM history WHERE revision > ? ORDER BY revision LIMIT ?",
  );
  const dropOldest = database.prepare(
    "DELETE FROM history WHERE revision = (SELECT MIN(revision) FROM history) RETURNING OCTET_LENGTH(body) AS bytes",
  );
  return {
    id: () => String(id.get()?.["value"]),
    ...prepareNotes(database),
    revision: () => Number(revision.get()?.["value"] ?? 0),
    historySize() {
      const row = size.get();
      return { rows: Number(row?.["count"]), bytes: Number(row?.["bytes"]) };
    },
    all: prepareAll(database),
    put({ kind, namespace, name }, body) {
      put.run(kind, namespace, name, body);
    },
    remove({ kind, namespace, name }) {
      remove.run(kind, namespace, name);
    },
    record(number, type, body) {
      record.run(number, type, body);
    },
    changes: (after, limit) =>
      changes.all(after, limit).map((row) => ({
        revision: Number(row["revision"]),
        type: row["type"] === "remove" ? "remove" : "put",
        created: row["type"] === "create",
        resource: resourceIn(row),
      })),
    dropOldest: () => Number(dropOldest.get()?.["bytes"] ?? 0),
  };
}

function prepareAll(database: DatabaseSync): Statements["all"] {
  const all = database.prepare(
    "SELECT body FROM resources ORDER BY kind, namespace, name",
  );
  const nth = database.prepare(
    "SELECT kind, namespace, name FROM resources ORDER BY kind, namespace, name LIMIT 1 OFFSET ?",
  );
  return function* () {
    let count = 0;
    for (const row of all.iterate()) {
      try {
        yield resourceIn(row);
      } catch (thrown) {
        const { kind, namespace, name } = nth.get(count) ?? {};
        throw new SyntaxError(
          `${String(kind)} ${String(namespace)}/${String(name)}: ${messageOf(thrown)}`,
          { cause: thrown },
        );
      }
      count += 1;
    }
  };
}

function prepareNotes(
  database: DatabaseSync,
): Pick<
  Statements,
  "note" | "notes" | "setNote" | "branches" | "setBranches" | "sum" | "setSum"
> {
  const note = database.prepare("SELECT value FROM meta WHERE name = ?");
  const valueOf = (name: string): string | undefined => {
    const value = note.get(name)?.["value"];
    return typeof value === "string" ? value : undefined;
  };
  const notes = database.prepare(
    "SELECT SUBSTR(name, ?) AS name, value FROM meta WHERE name >= ? AND name < ?",
  );
  const removeNote = database.prepare("DELETE FROM meta WHERE name = ?");
  const setNote = database.prepare(
    "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
  );
  return {
    branches: () => valueOf(BRANCHES),
    setBranches: (text) => setNote.run(BRANCHES, text),
    sum: () => valueOf(SUM),
    setSum: (note) => setNote.run(SUM, note),
    note: (name) => valueOf(NOTE + name),
    notes: (prefix) =>
      new Map(
        notes
          .all(NOTE.length + 1, NOTE + prefix, NOTE + prefix + LAST)
          .map((row) => [String(row["name"]), String(row["value"])]),
      ),
    setNote(name, value) {
      if (value === undefined) removeNote.run(NOTE + name);
      else setNote.run(NOTE + name, value);
    },
  };
}

/** Bodies are ours: only this store writes them, as JSON of a Resource. */
function resourceIn(row: Record<string, SQLOutputValue>): Resource {
  return JSON.parse(String(row["body"])) as Resource;
}
