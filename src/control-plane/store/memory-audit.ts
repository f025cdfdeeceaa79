/** The audit log of a store in memory. */
import type { WallMs } from "../../core/units.ts";
import type {
  Act,
  AuditEntry,
  AuditLimits,
  AuditPage,
  AuditQuery,
} from "../audit/audit.ts";

/** Entries that one step looks at. */
const WINDOW = 5000;

export class MemoryAudit {
  readonly #limits: AuditLimits;
  /** The oldest first, and the bytes that each takes. */
  readonly #entries: { readonly entry: AuditEntry; readonly bytes: number }[] =
    [];
  #bytes = 0;
  #newest = 0;

  constructor(limits: AuditLimits) {
    this.#limits = limits;
  }

  add(acts: readonly Act[], at: WallMs): void {
    for (const act of acts) {
      this.#newest += 1;
      const entry = { ...act, id: this.#newest, at };
      const bytes = Buffer.byteLength(JSON.stringify(entry));
      this.#entries.push({ entry, bytes });
      this.#bytes += bytes;
    }
    const { entries, bytes, age } = this.#limits;
    let gone = 0;
    for (const { entry, bytes: held } of this.#entries) {
      const over = this.#entries.length - gone > entries || this.#bytes > bytes;
      if (!over && entry.at >= at - age) break;
      this.#bytes -= held;
      gone += 1;
    }
    this.#entries.splice(0, gone);
  }

  read(query: AuditQuery): AuditPage {
    const oldest = this.#newest - this.#entries.length + 1;
    const below = Math.min(query.before ?? Infinity, this.#newest + 1);
    const from = Math.max(below - WINDOW, oldest);
    const entries: AuditEntry[] = [];
    let id = below;
    while (id > from && entries.length < query.limit) {
      id -= 1;
      const found = this.#entries[id - oldest]?.entry;
      if (found !== undefined && passes(found, query)) entries.push(found);
    }
    return { entries, next: id <= oldest ? undefined : id };
  }
}

const FIELDS = ["by", "request", "verb", "kind", "namespace", "name"] as const;

function passes(entry: AuditEntry, query: AuditQuery): boolean {
  const { readable, since = 0 } = query;
  return (
    entry.at >= since &&
    FIELDS.every(
      (field) => query[field] === undefined || query[field] === entry[field],
    ) &&
    (readable === "all" ||
      (entry.namespace !== "" &&
        (readable === "namespaced" || readable.includes(entry.namespace))))
  );
}
