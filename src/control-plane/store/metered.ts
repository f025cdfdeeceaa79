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
    revision: () => store.revision(),
    get: (key) => store.get(key),
    list: (kind, namespace) => store.list(kind, namespace),
    put: (resource, expected) => timed(() => store.put(resource, expected)),
    transact: (puts) => timed(() => store.transact(puts)),
    remove: (key, expected) => timed(() => store.remove(key, expected)),
    removeAll: (removals) => timed(() => store.removeAll(removals)),
    watch: (after, signal) => store.watch(after, signal),
    note: (name) => store.note(name),
    setNote: (name, value) => timed(() => store.setNote(name, value)),
    notes: (prefix) => store.notes(prefix),
    setNotes: (notes) => timed(() => store.setNotes(notes)),
    close: () => store.close(),
  };
}
