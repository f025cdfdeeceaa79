/** Writes that come in one turn of the event loop, or while the disk writes those before, reach the disk together. */
import { nextTurn } from "../../core/slices.ts";
import type { Act } from "../audit/audit.ts";
import {
  formatKey,
  type Resource,
  type ResourceKey,
} from "../../resources/envelope.ts";

/** A change of one resource; undefined: nothing was there, or nothing is left. */
export interface Write {
  readonly key: ResourceKey;
  readonly before: Resource | undefined;
  readonly after: Resource | undefined;
  readonly revision: number;
}

type Find = (key: ResourceKey) => Resource | undefined;

/** What a writer makes of what is there and of the newest revision. Throws where it finds something else than it expected. */
export type Plan<T> = (
  find: Find,
  newest: number,
) => {
  readonly writes: readonly Write[];
  /** For the audit log. */
  readonly acts: readonly Act[];
  readonly result: T;
};

interface Waiting {
  /** Adds to the group what it writes. */
  readonly join: (group: Group) => void;
}

/** The writes of one flush, each planned on what those before it leave. */
class Group {
  readonly #find: Find;
  readonly #newest: number;
  readonly #made = new Map<string, Resource | undefined>();
  #looked = false;
  readonly writes: Write[] = [];
  readonly acts: Act[] = [];
  readonly members: {
    readonly done: () => void;
    readonly failed: (thrown: unknown) => void;
  }[] = [];

  constructor(find: Find, newest: number) {
    this.#find = find;
    this.#newest = newest;
  }

  /** Undefined where it changes nothing, and has seen nothing that is not on the disk yet. */
  add<T>(plan: Plan<T>): { readonly result: T; readonly waits: boolean } {
    this.#looked = false;
    const { writes, acts, result } = plan(
      (key) => this.#look(key),
      this.#newest + this.writes.length,
    );
    for (const write of writes) {
      this.#made.set(formatKey(write.key), write.after);
      this.writes.push(write);
    }
    this.acts.push(...acts);
    const waits = writes.length > 0 || acts.length > 0 || this.#looked;
    return { result, waits };
  }

  #look(key: ResourceKey): Resource | undefined {
    const text = formatKey(key);
    if (!this.#made.has(text)) return this.#find(key);
    this.#looked = true;
    return this.#made.get(text);
  }
}

export interface GroupCommitOptions {
  readonly find: Find;
  readonly newest: () => number;
  /** Writes all to the disk, and shows them to readers then. Rejects where none of them is there. */
  readonly commit: (
    writes: readonly Write[],
    acts: readonly Act[],
  ) => Promise<void>;
}

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  #waiting: Waiting[] = [];
  /** The flush that goes on. */
  #flushing: Promise<void> | undefined;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** Resolves with what the plan gives once its writes are on the disk. */
  run<T>(plan: Plan<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#waiting.push({
      join(group) {
        try {
          const { result, waits } = group.add(plan);
          const done = (): void => resolve(result);
          if (waits) group.members.push({ done, failed: reject });
          else done();
        } catch (thrown) {
          // Its own fault: the others go on without it.
          reject(thrown);
        }
      },
    });
    this.#flushing ??= nextTurn().then(() => this.#flushAll());
    return promise;
  }

  /** Resolves once nothing waits. */
  async idle(): Promise<void> {
    await this.#flushing;
  }

  async #flushAll(): Promise<void> {
    while (this.#waiting.length > 0) await this.#flush();
    this.#flushing = undefined;
  }

  async #flush(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    const { find, newest, commit } = this.#options;
    const group = new Group(find, newest());
    for (const { join } of waiting) join(group);
    try {
      const { writes, acts } = group;
      if (writes.length > 0 || acts.length > 0) await commit(writes, acts);
    } catch (thrown) {
      for (const { failed } of group.members) failed(thrown);
      return;
    }
    for (const { done } of group.members) done();
  }
}
