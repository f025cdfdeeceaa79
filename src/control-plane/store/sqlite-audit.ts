/** The audit log in the SQLite file: written in the transaction of what it tells of, and read a window of ids at a time. */
import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import type { WallMs } from "../../core/units.ts";
import type {
  Act,
  AuditEntry,
  AuditLimits,
  AuditPage,
  AuditQuery,
} from "../audit/audit.ts";
import { AuditShares } from "../audit/shares.ts";
import type { Erasable } from "./endings.ts";

/** An older Wherry does not look at it, and one of its version makes it where it is missing. */
export const AUDIT_SCHEMA = `
  CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,
    author TEXT NOT NULL, request TEXT NOT NULL, verb TEXT NOT NULL,
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS audit_by_author ON audit (author);
`;

/** Entries that one step looks at, so that a filter that nothing passes does not hold the event loop. */
const WINDOW = 5000;
/** Entries that go at once because they are too old, besides as many as were added. What there is no room for goes at once. */
const MOST_PRUNED = 1000;
const ANY_AGE = { after: -Infinity, upTo: Infinity };

export class SqliteAudit {
  readonly #statements: ReturnType<typeof prepareAudit>;
  readonly #limits: AuditLimits;
  readonly #shares: AuditShares;

  constructor(database: DatabaseSync, limits: AuditLimits) {
    this.#statements = prepareAudit(database);
    this.#limits = limits;
    this.#shares = new AuditShares(limits);
    for (const { author, ...size } of this.#statements.sizes())
      this.#shares.add(author, size);
  }

  /** A transaction begins: what it changes of the sizes that are known can be undone. */
  begin(): void {
    this.#shares.begin();
  }

  /** The transaction failed. */
  undo(): void {
    this.#shares.undo();
  }

  /** In a transaction. */
  add(acts: readonly Act[], at: WallMs, erasable: Erasable): void {
    for (const act of acts) {
      const body = JSON.stringify({ ...act, at });
      this.#statements.add(act, at, body);
      this.#shares.add(act.by, { rows: 1, bytes: Buffer.byteLength(body) });
    }
    if (acts.length > 0) this.#prune(acts.length + MOST_PRUNED, erasable);
  }

  read(query: AuditQuery): AuditPage {
    const below = query.before ?? this.#statements.newest() + 1;
    const from = this.#statements.windowBelow(below);
    const found = this.#statements.read(query, from, below);
    const last = found.at(-1)?.id;
    const next =
      found.length === query.limit && last !== undefined ? last : from;
    const { oldest } = this.#statements;
    return { entries: found, next: next <= oldest() ? undefined : next };
  }

  #prune(most: number, { after, upTo }: Erasable): void {
    const { age } = this.#limits;
    const old = { after: after - age, upTo: upTo - age };
    for (let left = most; left > 0; left -= 1)
      if (!this.#drop(this.#statements.dropOldest(old))) break;
    while (this.#shares.isOver) {
      const { heaviest } = this.#shares;
      const gone =
        heaviest === undefined
          ? this.#statements.dropOldest(ANY_AGE)
          : this.#statements.dropOldestOf(heaviest);
      if (!this.#drop(gone)) return;
    }
  }

  /** Whether there was one. */
  #drop(gone: Dropped | undefined): boolean {
    if (gone !== undefined) this.#shares.remove(gone.author, gone.bytes);
    return gone !== undefined;
  }
}

/** An entry that is gone, and the bytes of its body. */
interface Dropped {
  readonly author: string;
  readonly bytes: number;
}

function prepareAudit(database: DatabaseSync) {
  const add = database.prepare(
    "INSERT INTO audit (at, author, request, verb, kind, namespace, name, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  );
  const sizes = database.prepare(
    "SELECT author, COUNT(*) AS count, TOTAL(OCTET_LENGTH(body)) AS bytes FROM audit GROUP BY author",
  );
  const ends = database.prepare(
    "SELECT COALESCE(MIN(id), 0) AS oldest, COALESCE(MAX(id), 0) AS newest FROM audit",
  );
  const drop = database.prepare(
    "DELETE FROM audit WHERE id = (SELECT MIN(id) FROM audit) AND at > ? AND at <= ? RETURNING author, OCTET_LENGTH(body) AS bytes",
  );
  const dropOf = database.prepare(
    "DELETE FROM audit WHERE id = (SELECT MIN(id) FROM audit WHERE author = ?) RETURNING author, OCTET_LENGTH(body) AS bytes",
  );
  // Between two ids there may be many that are gone.
  const window = database.prepare(
    `SELECT COALESCE(MIN(id), 0) AS first FROM (SELECT id FROM audit WHERE id < ? ORDER BY id DESC LIMIT ${WINDOW})`,
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
    sizes: () =>
      sizes.all().map((row) => ({
        author: String(row["author"]),
        rows: Number(row["count"]),
        bytes: Number(row["bytes"]),
      })),
    oldest: () => Number(ends.get()?.["oldest"]),
    newest: () => Number(ends.get()?.["newest"]),
    /** The first id of a window that ends below this one. */
    windowBelow: (id: number) => Number(window.get(id)?.["first"]),
    /** Undefined where it was not written then. */
    dropOldest: ({ after, upTo }: Erasable) => droppedIn(drop.get(after, upTo)),
    /** Undefined where the author has none. */
    dropOldestOf: (author: string) => droppedIn(dropOf.get(author)),
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

function droppedIn(
  row: Record<string, SQLOutputValue> | undefined,
): Dropped | undefined {
  return row === undefined
    ? undefined
    : { author: String(row["author"]), bytes: Number(row["bytes"]) };
}
