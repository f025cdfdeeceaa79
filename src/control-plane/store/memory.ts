/** A store that ends with its process: for tests, for `--store memory`, and as the plainest statement of what a store does. */
import { randomUUID } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { watchSource } from "../../core/watch.ts";
import {
  keyOf,
  type Resource,
  type ResourceKey,
} from "../../resources/envelope.ts";
import { follow } from "./follow.ts";
import {
  CompactedError,
  HISTORY_LIMITS,
  StoreError,
  type Change,
  type HistoryLimits,
  type Store,
} from "./store.ts";
import { checkExpected, nextVersion, step } from "./write.ts";

export interface MemoryStoreOptions {
  readonly clock: Clock;
  readonly history?: HistoryLimits;
}

interface Entry {
  readonly change: Change;
  readonly bytes: number;
}

export function openMemoryStore(options: MemoryStoreOptions): Store {
  const { clock, history: limits = HISTORY_LIMITS } = options;
  const kinds = new Map<string, Map<string, Resource>>();
  // One entry a revision, without gaps: the entry of revision r is at r − compacted − 1.
  const history: Entry[] = [];
  let compacted = 0;
  let bytes = 0;
  const newest = watchSource(0);
  const closing = new AbortController();

  const find = (key: ResourceKey): Resource | undefined =>
    kinds.get(key.kind)?.get(pathOf(key));
  const checkOpen = (): void => {
    if (closing.signal.aborted) throw new StoreError("the store is closed");
  };

  const record = (change: Change): void => {
    const size = Buffer.byteLength(JSON.stringify(change.resource));
    history.push({ change, bytes: size });
    bytes += size;
    while (
      history.length > limits.rows ||
      (bytes > limits.bytes && history.length > 1)
    ) {
      bytes -= history.shift()?.bytes ?? 0;
      compacted += 1;
    }
    newest.set(change.revision);
  };

  const read = (after: number, limit: number): readonly Change[] => {
    if (after < compacted || after > newest.value)
      throw new CompactedError(after, compacted, newest.value);
    const start = after - compacted;
    return history.slice(start, start + limit).map(({ change }) => change);
  };

  const put = (
    resource: Resource,
    expected: number | "absent" | undefined,
  ): Resource => {
    checkOpen();
    const key = keyOf(resource);
    const current = find(key);
    checkExpected(key, expected, current);
    const revision = newest.value + 1;
    const next = nextVersion(current, resource, revision, clock);
    if (next === undefined) return current ?? resource;
    const ofKind = kinds.get(key.kind) ?? new Map<string, Resource>();
    kinds.set(key.kind, ofKind.set(pathOf(key), next));
    record({
      revision,
      type: "put",
      created: current === undefined,
      resource: next,
    });
    return next;
  };

  const remove = (key: ResourceKey, expected?: number): number => {
    checkOpen();
    const current = find(key);
    checkExpected(key, expected, current);
    if (current === undefined) return newest.value;
    kinds.get(key.kind)?.delete(pathOf(key));
    const revision = newest.value + 1;
    record({ revision, type: "remove", created: false, resource: current });
    return revision;
  };

  const list = (kind: string, namespace?: string): readonly Resource[] => {
    checkOpen();
    return [...(kinds.get(kind) ?? new Map<string, Resource>())]
      .filter(
        ([, { metadata }]) =>
          namespace === undefined || (metadata.namespace ?? "") === namespace,
      )
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, resource]) => resource);
  };

  // Each operation is one synchronous step: nothing can come between the comparison and the swap.
  return {
    id: randomUUID(),
    revision: () => step(() => newest.value),
    get: (key) =>
      step(() => {
        checkOpen();
        return find(key);
      }),
    list: (kind, namespace) =>
      step(() => ({
        resources: list(kind, namespace),
        revision: newest.value,
      })),
    put: (resource, expected) => step(() => put(resource, expected)),
    remove: (key, expected) => step(() => remove(key, expected)),
    watch: (after, signal) =>
      follow({ read, newest, closed: closing.signal }, after, signal),
    close: () => step(() => closing.abort()),
  };
}

/** U+0000 is in no name, and sorts before every character that is: by namespace, then by name. */
function pathOf(key: ResourceKey): string {
  return `${key.namespace}\0${key.name}`;
}
