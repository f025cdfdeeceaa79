/** What a sidecar should hold, or holds: a value that is never edited, whose next state shares all that stays. */
import { SlotMap } from "../../../core/slot-map.ts";
import { digestSum, formatDigest } from "../../../push/names.ts";
import type { Entry } from "./item.ts";

export class ScopedSet {
  static readonly EMPTY: ScopedSet = new ScopedSet(SlotMap.empty(), 0n);

  readonly entries: SlotMap<Entry>;
  readonly #sum: bigint;
  #digest: string | undefined;

  private constructor(entries: SlotMap<Entry>, sum: bigint) {
    this.entries = entries;
    this.#sum = sum;
  }

  get digest(): string {
    return (this.#digest ??= formatDigest(this.#sum));
  }

  /** The set with the entry in place of another version; itself where it has it. */
  with(entry: Entry): ScopedSet {
    const before = this.entries.get(entry.slot);
    if (before === entry) return this;
    const sum = digestSum(this.#sum, entry.term - (before?.term ?? 0n));
    return new ScopedSet(this.entries.with(entry), sum);
  }

  without(slot: number): ScopedSet {
    const before = this.entries.get(slot);
    if (before === undefined) return this;
    return new ScopedSet(
      this.entries.without(slot),
      digestSum(this.#sum, -before.term),
    );
  }
}

/** What a sidecar holds: as this stream brought it, or, at its start, by the names and versions that the sidecar states. */
export type Held =
  | ScopedSet
  | ReadonlyMap<string, { readonly version: string }>;

export interface Difference {
  readonly changed: readonly Entry[];
  readonly removed: readonly string[];
}

/** What must be sent to make `held` into `wanted`. */
export function difference(held: Held, wanted: ScopedSet): Difference {
  return held instanceof ScopedSet
    ? betweenSets(held, wanted)
    : fromNames(held, wanted);
}

function betweenSets(held: ScopedSet, wanted: ScopedSet): Difference {
  const changed: Entry[] = [];
  const removed: string[] = [];
  SlotMap.compare(held.entries, wanted.entries, (before, after) => {
    if (after === undefined) removed.push(before?.name ?? "");
    else if (before?.version !== after.version) changed.push(after);
  });
  if (removed.length === 0 || changed.length === 0) return { changed, removed };
  // What went and came back in between has another slot and the same name.
  const back = new Set(changed.map(({ name }) => name));
  return { changed, removed: removed.filter((name) => !back.has(name)) };
}

function fromNames(
  held: ReadonlyMap<string, { readonly version: string }>,
  wanted: ScopedSet,
): Difference {
  const changed: Entry[] = [];
  const names = new Set<string>();
  wanted.entries.forEach((entry) => {
    names.add(entry.name);
    if (held.get(entry.name)?.version !== entry.version) changed.push(entry);
  });
  return {
    changed,
    removed: [...held.keys()].filter((name) => !names.has(name)),
  };
}
