/** What the control plane asks of a place that keeps resources: revisions, compare-and-swap, and a watch that misses nothing or says so. */
import type { KnownRevision } from "./branches.ts";
import type { Act, AuditPage, AuditQuery, Author } from "../audit/audit.ts";
import {
  formatKey,
  type Resource,
  type ResourceKey,
} from "../../resources/envelope.ts";

export interface Listing {
  /** Sorted by namespace, then name. */
  readonly resources: readonly Resource[];
  /** The revision that the listing shows: watch from here and nothing is missed. */
  readonly revision: number;
}

export interface Change {
  readonly revision: number;
  readonly type: "put" | "remove";
  /** True on the put that made the resource. */
  readonly created?: boolean;
  /** As written by a put; as it last was, before a remove. */
  readonly resource: Resource;
}

/** The revision that a writer has read, "absent" to create only, or undefined to write whatever is there. */
export type Expected = number | "absent" | undefined;

/** One write of a transaction. */
export interface Put {
  readonly resource: Resource;
  readonly expected: Expected;
}

/** What became of it: `before` is the same object as `resource` where the write changed nothing. */
export interface Done {
  readonly before: Resource | undefined;
  readonly resource: Resource;
}

export interface Removal {
  readonly key: ResourceKey;
  /** The revision that is to go; undefined: whatever is there, if anything. */
  readonly expected: number | undefined;
}

export interface Store {
  /** A UUID made with the store and kept in it: another id is another history, in which revisions compare with nothing. */
  readonly id: string;
  /** Why nothing can be written now, while the disk is full or fails; undefined while it can. What is there can be read all the same. */
  readonly fault: string | undefined;
  /** The branch of its history that the newest revision is on; "" where it has no branches. */
  readonly branch: string;
  /** Whether its history has the revision. One that was put back from a backup has not what was written since, whatever its newest revision is. */
  has(known: KnownRevision): boolean;
  /** The newest revision; 0 before the first write. */
  revision(): Promise<number>;
  get(key: ResourceKey): Promise<Resource | undefined>;
  /** All of a kind, or those of one namespace; as of one revision. */
  list(kind: string, namespace?: string): Promise<Listing>;
  /**
   * Writes labels, annotations and spec. The rest of the metadata is the store's own: `uid` and `creationTimestamp` from the
   * creation on, `resourceVersion` at each write, `generation` at each change of the spec. Status is never kept.
   * A write that changes nothing makes no revision. Resolves with what is there now; rejects with ConflictError.
   */
  put(
    resource: Resource,
    expected: Expected,
    author?: Author,
  ): Promise<Resource>;
  /**
   * All of the puts in their order, or none: rejects with the ConflictError of the first that finds something else than it expected.
   * Each that changes something has a revision of its own, without others between them, and all have one time.
   * With an author, each change is in the audit log by the same transaction: here, and in the other writes.
   */
  transact(puts: readonly Put[], author?: Author): Promise<readonly Done[]>;
  /** Resolves with the revision of the removal, or with the newest one where nothing was there and none was expected. */
  remove(key: ResourceKey, expected?: number, author?: Author): Promise<number>;
  /** All of them or none, as `transact` does it. Resolves with what was there of each; where there is nothing, there is no revision either. */
  removeAll(
    removals: readonly Removal[],
    author?: Author,
  ): Promise<readonly (Resource | undefined)[]>;
  /** Adds to the audit log what is not a write of a resource. */
  record(acts: readonly Act[]): Promise<void>;
  /** A step back through the audit log. */
  audited(query: AuditQuery): Promise<AuditPage>;
  /**
   * Every change with a revision above `after`, in order, until `signal` aborts or the store closes. A reader that is too
   * slow, or starts before what the history still holds, gets CompactedError: it must list again.
   */
  watch(after: number, signal: AbortSignal): AsyncIterable<Change>;
  /** What was noted beside the resources under the name; undefined where nothing was. */
  note(name: string): Promise<string | undefined>;
  /** Notes it in place of what was noted before. A note has no revision and goes with the store, also into its backups. */
  setNote(name: string, value: string): Promise<void>;
  /** All notes whose names begin so, by their names. */
  notes(prefix: string): Promise<ReadonlyMap<string, string>>;
  /** All of them or none; undefined takes a note away. */
  setNotes(notes: ReadonlyMap<string, string | undefined>): Promise<void>;
  close(): Promise<void>;
}

/** What the history of changes holds at most before its oldest part goes. */
export interface HistoryLimits {
  readonly rows: number;
  readonly bytes: number;
}

export const HISTORY_LIMITS: HistoryLimits = {
  rows: 10_000,
  bytes: 16 * 1024 * 1024,
};

/** Another writer was faster, or what was to be created exists. */
export class ConflictError extends Error {
  override readonly name = "ConflictError";
  readonly key: ResourceKey;
  readonly expected: Expected;
  /** The revision that is there; undefined where nothing is. */
  readonly actual: number | undefined;

  constructor(
    key: ResourceKey,
    expected: Expected,
    actual: number | undefined,
  ) {
    super(
      `${formatKey(key)} ${actual === undefined ? "does not exist" : `is at resourceVersion ${actual}`}, ` +
        `but the write expected ${expected === "absent" ? "it not to exist" : `resourceVersion ${String(expected)}`}: read it again and repeat the change`,
    );
    this.key = key;
    this.expected = expected;
    this.actual = actual;
  }
}

/** The history no longer holds what came right after the revision asked for. */
export class CompactedError extends Error {
  override readonly name = "CompactedError";
  readonly after: number;

  constructor(after: number, oldest: number, newest: number) {
    super(
      `changes after revision ${after} are not in the history, which reaches from ${oldest} to ${newest}: list again and watch from that revision`,
    );
    this.after = after;
  }
}

/** The store cannot be opened, read or written, or was closed. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  /** "SQLITE_FULL", where the machine is what fails. */
  readonly code: string | undefined;
  /** What is stored is damaged: trying again does not help. */
  readonly damaged: boolean;

  constructor(
    message: string,
    options: ErrorOptions & {
      readonly code?: string | undefined;
      readonly damaged?: boolean;
    } = {},
  ) {
    super(message, options);
    this.code = options.code;
    this.damaged = options.damaged ?? false;
  }
}
