/** The audit log in the SQLite file: written in the transaction of what it tells of, and read a window of ids at a time. */
import type { DatabaseSync } from "node:sqlite";
import type { WallMs } from "../../core/units.ts";
import type {
  Act,
  AuditEntry,
  AuditLimits,
  AuditPage,
  AuditQuery,
} from "../audit/audit.ts";

/** An older Wherry does not look at it, and one of its version makes it where it is missing. */
export const AUDIT_SCHEMA = `
  CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,
    author TEXT NOT NULL, request TEXT NOT NULL, verb TEXT NOT NULL,
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL
  ) STRICT;
`;

/** Ids that one step looks at, so that a filter that nothing passes does not hold the event loop. */
const WINDOW = 5000;
/** Entries that go at once because they are too old, besides as many as were added. What there is no room for goes at once. */
const MOST_PRUNED = 1000;

interface AuditSize {
  rows: number;
  bytes: number;
}

export class SqliteAudit {
  readonly #statements: ReturnType<typeof prepareAudit>;
  readonly #limits: AuditLimits;
  #size: AuditSize;

  constructor(database: DatabaseSync, limits: AuditLimits) {
    this.#statements = prepareAudit(database);
    this.#limits = limits;
    this.#size = this.#statements.size();
  }

  get size(): Readonly<AuditSize> {
    return { ...this.#size };
  }

  /** What it was before a transaction that failed. */
  set size(size: Readonly<AuditSize>) {
    this.#size = { ...size };
  }

  /** In a transaction. */
  add(acts: readonly Act[], at: WallMs): void {
    for (const act of acts) {
      const body = JSON.stringify({ ...act, at });
      this.#statements.add(act, at, body);
      this.#size.rows += 1;
      this.#size.bytes += Buffer.byteLength(body);
    }
    if (acts.length > 0) this.#prune(acts.length + MOST_PRUNED, at);
  }

  read(query: AuditQuery): AuditPage {
    const newest = this.#statements.newest();
    const below = Math.min(query.before ?? newest + 1, newest + 1);
    const from = below - WINDOW;
    const found = this.#statements.read(query, from, below);
    const last = found.at(-1)?.id;
    const next =
      found.length === query.limit && last !== undefined ? last : from;
    const { oldest } = this.#statements;
    return { entries: found, next: next <= oldest() ? undefined : next };
  }

  #prune(most: number, now: WallMs): void {
    const { entries, bytes, age } = this.#limits;
    for (let left = most; this.#size.rows > 0; left -= 1) {
      const over = this.#size.rows > entries || this.#size.bytes > bytes;
      if (!over && left <= 0) return;
      const gone = this.#statements.dropOldest(over ? Infinity : now - age);
      if (gone === undefined) return;
      this.#size.rows -= 1;
      this.#size.bytes -= gone;
    }
  }
}

function prepareAudit(database: DatabaseSync) {
  const add = database.prepare(
    "INSERT INTO audit (at, author, request, verb, kind, namespace, name, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  );
  const size = database.prepare(
    "SELECT COUNT(*) AS count, TOTAL(OCTET_LENGTH(body)) AS bytes FROM audit",
  );
  const ends = database.prepare(
    "SELECT COALESCE(MIN(id), 0) AS oldest, COALESCE(MAX(id), 0) AS newest FROM audit",
  );
  const drop = database.prepare(
    "DELETE FROM audit WHERE id = (SELECT MIN(id) FROM audit) AND at < ? RETURNING OCTET_LENGTH(body) AS bytes",
  );
  const read = database.prepare(`
    SELECT id, body FROM audit WHERE id >= $from AND id < $below AND at >= $since
      AND ($author IS NULL OR author = $author) AND ($request IS NULL OR request = $request)
      AND ($verb IS NULL OR verb = $verb) AND ($kind IS NULL OR kind = $kind)
      AND ($namespace IS NULL OR namespace = $namespace) AND ($name IS NULL OR name = $name)
      AND ($all = 1 OR (namespace <> '' AND ($readable IS NULL OR namespace IN (SELECT value FROM json_each($readable)))))
    ORDER BY id DESC LIMIT $limit`);
  return {
    add(act: Act, at: WallMs, body: string): void {
      const { by, request, verb, kind, namespace, name } = act;
      add.run(at, by, request, verb, kind, namespace, name, body);
    },
    size() {
      const row = size.get();
      return { rows: Number(row?.["count"]), bytes: Number(row?.["bytes"]) };
    },
    oldest: () => Number(ends.get()?.["oldest"]),
    newest: () => Number(ends.get()?.["newest"]),
    /** The bytes of its body; undefined where it is not older. */
    dropOldest(than: number): number | undefined {
      const bytes = drop.get(Number.isFinite(than) ? than : 1e15)?.["bytes"];
      return bytes === undefined ? undefined : Number(bytes);
    },
    read(query: AuditQuery, from: number, below: number): AuditEntry[] {
      const { readable } = query;
      return read
        .all({
          ...{ $from: from, $below: below, $since: query.since ?? 0 },
          ...{ $author: query.by ?? null, $request: query.request ?? null },
          ...{ $verb: query.verb ?? null, $kind: query.kind ?? null },
          ...{ $namespace: query.namespace ?? null, $name: query.name ?? null },
          $all: readable === "all" ? 1 : 0,
          $readable:
            typeof readable === "string" ? null : JSON.stringify(readable),
          $limit: query.limit,
        })
        .map(({ id, body }) => ({
          id: Number(id),
          // Written above, so its shape is known.
          ...(JSON.parse(String(body)) as Omit<AuditEntry, "id">),
        }));
    },
  };
}
