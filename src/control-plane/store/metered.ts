/** A store whose writes are timed. */
import type { Clock } from "../../core/clock.ts";
import type { Family, HistogramCell } from "../../telemetry/metrics.ts";
import { ConflictError, type Store } from "./store.ts";

/** The same store; how long its writes take is recorded in seconds. */
export function meterStore(
  store: Store,
  writes: Family<HistogramCell>,
  clock: Pick<Clock, "now">,
): Store {
  const timed = async <T>(write: () => Promise<T>): Promise<T> => {
    const from = clock.now();
    const record = (result: string): void =>
      writes.with(result).record((clock.now() - from) / 1000);
    try {
      const written = await write();
      record("written");
      return written;
    } catch (thrown) {
      record(thrown instanceof ConflictError ? "conflict" : "failed");
      throw thrown;
    }
  };
  return {
    id: store.id,
    get fault() {
      return store.fault;
    },
    get branch() {
      return store.branch;
    },
    has: (known) => store.has(known),
    revision: () => store.revision(),
    get: (key) => store.get(key),
    list: (kind, namespace) => store.list(kind, namespace),
    put: (resource, expected, author) =>
      timed(() => store.put(resource, expected, author)),
    transact: (puts, author) => timed(() => store.transact(puts, author)),
    remove: (key, expected, author) =>
      timed(() => store.remove(key, expected, author)),
    removeAll: (removals, author) =>
      timed(() => store.removeAll(removals, author)),
    record: (acts) => timed(() => store.record(acts)),
    audited: (query) => store.audited(query),
    watch: (after, signal) => store.watch(after, signal),
    note: (name) => store.note(name),
    setNote: (name, value) => timed(() => store.setNote(name, value)),
    notes: (prefix) => store.notes(prefix),
    setNotes: (notes) => timed(() => store.setNotes(notes)),
    close: () => store.close(),
  };
}
