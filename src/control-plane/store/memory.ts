/** A store that ends with its process: for tests, for `--store memory`, and as the plainest statement of what a store does. */
import { randomUUID } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { watchSource, type Watch } from "../../core/watch.ts";
import type { Resource, ResourceKey } from "../../resources/envelope.ts";
import {
  AUDIT_LIMITS,
  type Act,
  type AuditLimits,
  type AuditPage,
  type AuditQuery,
  type Author,
} from "../audit/audit.ts";
import { follow, type History } from "./follow.ts";
import { MemoryAudit } from "./memory-audit.ts";
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
import { ResourceTable } from "./table.ts";
import {
  actsOf,
  planPuts,
  planRemovals,
  putOne,
  removedOf,
  step,
} from "./write.ts";

export interface MemoryStoreOptions {
  readonly clock: Clock;
  readonly history?: HistoryLimits;
  readonly audit?: AuditLimits;
}

interface Entry {
  readonly change: Change;
  readonly bytes: number;
}

export function openMemoryStore(options: MemoryStoreOptions): Store {
  return new MemoryStore(options);
}

/** Each operation is one synchronous step: nothing can come between the comparison and the swap. */
class MemoryStore implements Store {
  readonly id: string = randomUUID();
  readonly fault = undefined;
  /** Nobody makes a copy of it. */
  readonly branch = "";
  readonly #clock: Clock;
  readonly #table = new ResourceTable();
  readonly #notes = new Map<string, string>();
  readonly #history: MemoryHistory;
  readonly #audit: MemoryAudit;

  constructor(options: MemoryStoreOptions) {
    const { clock, history = HISTORY_LIMITS, audit = AUDIT_LIMITS } = options;
    this.#clock = clock;
    this.#audit = new MemoryAudit(audit, clock);
    this.#history = new MemoryHistory(history);
  }

  has(): boolean {
    return true;
  }

  revision(): Promise<number> {
    return step(() => this.#history.newest.value);
  }

  get(key: ResourceKey): Promise<Resource | undefined> {
    return step(() => {
      this.#history.checkOpen();
      return this.#table.get(key);
    });
  }

  list(kind: string, namespace?: string): Promise<Listing> {
    return step(() => {
      this.#history.checkOpen();
      return {
        resources: this.#table.list(kind, namespace),
        revision: this.#history.newest.value,
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
    return step(() => {
      this.#history.checkOpen();
      const planned = planPuts(
        puts,
        (key) => this.#table.get(key),
        this.#history.newest.value,
        this.#clock.wall(),
      );
      for (const { key, before, resource, revision } of planned) {
        if (revision === undefined) continue;
        this.#table.put(key, resource);
        const created = before === undefined;
        this.#history.record({ revision, type: "put", created, resource });
      }
      this.#audit.add(actsOf(author, planned), this.#clock.wall());
      this.#history.tell();
      return planned;
    });
  }

  remove(
    key: ResourceKey,
    expected?: number,
    author?: Author,
  ): Promise<number> {
    return step(() => {
      this.#removeAll([{ key, expected }], author);
      return this.#history.newest.value;
    });
  }

  removeAll(
    removals: readonly Removal[],
    author?: Author,
  ): Promise<readonly (Resource | undefined)[]> {
    return step(() => this.#removeAll(removals, author));
  }

  record(acts: readonly Act[]): Promise<void> {
    return step(() => {
      this.#history.checkOpen();
      this.#audit.add(acts, this.#clock.wall());
    });
  }

  audited(query: AuditQuery): Promise<AuditPage> {
    return step(() => {
      this.#history.checkOpen();
      return this.#audit.read(query);
    });
  }

  #removeAll(
    removals: readonly Removal[],
    author: Author | undefined,
  ): readonly (Resource | undefined)[] {
    this.#history.checkOpen();
    const planned = planRemovals(
      removals,
      (key) => this.#table.get(key),
      this.#history.newest.value,
    );
    for (const { key, before: resource, revision } of planned) {
      this.#table.remove(key);
      const change = { revision, type: "remove", created: false } as const;
      this.#history.record({ ...change, resource });
    }
    this.#audit.add(actsOf(author, planned), this.#clock.wall());
    this.#history.tell();
    return removedOf(removals, planned);
  }

  watch(after: number, signal: AbortSignal): AsyncIterable<Change> {
    return follow(this.#history, after, signal);
  }

  note(name: string): Promise<string | undefined> {
    return step(() => {
      this.#history.checkOpen();
      return this.#notes.get(name);
    });
  }

  setNote(name: string, value: string): Promise<void> {
    return this.setNotes(new Map([[name, value]]));
  }

  notes(prefix: string): Promise<ReadonlyMap<string, string>> {
    return step(() => {
      this.#history.checkOpen();
      return new Map(
        [...this.#notes].filter(([name]) => name.startsWith(prefix)),
      );
    });
  }

  setNotes(notes: ReadonlyMap<string, string | undefined>): Promise<void> {
    return step(() => {
      this.#history.checkOpen();
      for (const [name, value] of notes)
        if (value === undefined) this.#notes.delete(name);
        else this.#notes.set(name, value);
    });
  }

  close(): Promise<void> {
    return step(() => this.#history.close());
  }
}

/** The newest changes, one a revision without gaps, as many as the limits allow. */
class MemoryHistory implements History {
  readonly #limits: HistoryLimits;
  readonly #newest = watchSource(0);
  readonly #closing = new AbortController();
  /** The entry of revision r is at r − compacted − 1. */
  readonly #entries: Entry[] = [];
  #compacted = 0;
  #bytes = 0;

  constructor(limits: HistoryLimits) {
    this.#limits = limits;
  }

  get newest(): Watch<number> {
    return this.#newest;
  }

  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  /** Throws StoreError. */
  checkOpen(): void {
    if (this.closed.aborted) throw new StoreError("the store is closed");
  }

  record(change: Change): void {
    const { rows, bytes: most } = this.#limits;
    const bytes = Buffer.byteLength(JSON.stringify(change.resource));
    this.#entries.push({ change, bytes });
    this.#bytes += bytes;
    while (
      this.#entries.length > rows ||
      (this.#bytes > most && this.#entries.length > 1)
    ) {
      this.#bytes -= this.#entries.shift()?.bytes ?? 0;
      this.#compacted += 1;
    }
  }

  /** Lets watchers see what was recorded: a transaction as a whole. */
  tell(): void {
    this.#newest.set(this.#compacted + this.#entries.length);
  }

  read(after: number, limit: number): Promise<readonly Change[]> {
    return step(() => {
      const newest = this.#newest.value;
      if (after < this.#compacted || after > newest)
        throw new CompactedError(after, this.#compacted, newest);
      const start = after - this.#compacted;
      return this.#entries
        .slice(start, start + limit)
        .map(({ change }) => change);
    });
  }

  close(): void {
    this.#closing.abort();
  }
}
