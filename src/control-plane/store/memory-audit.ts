/** The audit log of a store in memory. */
import type { Clock } from "../../core/clock.ts";
import type { WallMs } from "../../core/units.ts";
import type {
  Act,
  AuditEntry,
  AuditLimits,
  AuditPage,
  AuditQuery,
} from "../audit/audit.ts";
import { AuditShares } from "../audit/shares.ts";
import { Endings } from "./endings.ts";

/** Entries that one step looks at. */
const WINDOW = 5000;

interface Kept {
  readonly entry: AuditEntry;
  readonly bytes: number;
  /** There was no room for it. */
  isGone: boolean;
}

export class MemoryAudit {
  readonly #limits: AuditLimits;
  readonly #endings: Endings;
  readonly #shares: AuditShares;
  /** The oldest first, some of them gone. */
  #entries: Kept[] = [];
  #gone = 0;
  /** The same by their authors, those that are there: the oldest first. */
  readonly #ofAuthors = new Map<string, Set<Kept>>();
  #newest = 0;

  constructor(limits: AuditLimits, clock: Pick<Clock, "now" | "wall">) {
    this.#limits = limits;
    this.#endings = new Endings(clock);
    this.#shares = new AuditShares(limits);
  }

  add(acts: readonly Act[], at: WallMs): void {
    for (const act of acts) {
      this.#newest += 1;
      const entry = { ...act, id: this.#newest, at };
      const bytes = Buffer.byteLength(JSON.stringify(entry));
      const kept = { entry, bytes, isGone: false };
      this.#entries.push(kept);
      const own = this.#ofAuthors.get(act.by) ?? new Set();
      this.#ofAuthors.set(act.by, own.add(kept));
      this.#shares.add(act.by, { rows: 1, bytes });
    }
    this.#prune();
  }

  read(query: AuditQuery): AuditPage {
    const { before = Infinity, limit } = query;
    let index = this.#indexOf(before);
    const end = Math.max(index - WINDOW, 0);
    const entries: AuditEntry[] = [];
    while (index > end && entries.length < limit) {
      index -= 1;
      const found = this.#entries[index];
      if (found !== undefined && !found.isGone && passes(found.entry, query))
        entries.push(found.entry);
    }
    const next = index === 0 ? undefined : this.#entries[index]?.entry.id;
    return { entries, next };
  }

  /** The place of the first one that has this id or a higher one. */
  #indexOf(id: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle]?.entry.id ?? 0) < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #prune(): void {
    let old = 0;
    for (const kept of this.#entries) {
      if (!this.#endings.mayErase(kept.entry.at + this.#limits.age)) break;
      this.#drop(kept);
      old += 1;
    }
    this.#entries.splice(0, old);
    this.#gone -= old;
    while (this.#shares.isOver) {
      const { heaviest } = this.#shares;
      const [first = this.#entries.find(({ isGone }) => !isGone)] =
        this.#ofAuthors.get(heaviest ?? "") ?? [];
      if (first === undefined) return;
      this.#drop(first);
    }
    if (2 * this.#gone <= this.#entries.length) return;
    this.#entries = this.#entries.filter(({ isGone }) => !isGone);
    this.#gone = 0;
  }

  #drop(kept: Kept): void {
    if (kept.isGone) return;
    kept.isGone = true;
    this.#gone += 1;
    const { by } = kept.entry;
    const own = this.#ofAuthors.get(by);
    own?.delete(kept);
    if (own?.size === 0) this.#ofAuthors.delete(by);
    this.#shares.remove(by, kept.bytes);
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
