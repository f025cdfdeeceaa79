/** Lists by key that never change: a changed copy shares the lists that are the same, so an index is kept in step with what it indexes. */
import { sortSteps, type Steps } from "../slices.ts";
import { PersistentMap, type MapEdit } from "./map.ts";

/** Negative where `left` goes first; 0 for one and the same item alone. */
export type Compare<T> = (left: T, right: T) => number;

/** Stands for every key that has no list, always the same object: "unchanged" is one comparison. */
const NONE: readonly never[] = [];

/** Items up to which it is less work to look for one than to keep account of those that go, and to find places than to sort. */
const FEW = 32;

export class PersistentGroups<T> {
  readonly #compare: Compare<T> | undefined;
  readonly #lists: PersistentMap<readonly T[]>;

  /** Without `compare` the lists have no order. */
  constructor(
    compare?: Compare<T>,
    lists: PersistentMap<readonly T[]> = new PersistentMap(),
  ) {
    this.#compare = compare;
    this.#lists = lists;
  }

  get(key: string): readonly T[] {
    return this.#lists.get(key) ?? NONE;
  }

  /** Those with a list that is not empty, in no order that means anything. */
  *keys(): Generator<string> {
    for (const [key] of this.#lists.entries()) yield key;
  }

  edit(): GroupsEdit<T> {
    return new GroupsEdit(this, this.#lists.edit(), this.#compare);
  }
}

/** A list that is being changed; what is left to do is done when it is read, all at once. */
interface Draft<T> {
  items: T[];
  /** As many from the first are in order; the rest were added. */
  sorted: number;
  removed: Set<T> | undefined;
}

/** A copy that is being changed. */
export class GroupsEdit<T> {
  #from: PersistentGroups<T>;
  readonly #lists: MapEdit<readonly T[]>;
  readonly #compare: Compare<T> | undefined;
  readonly #drafts = new Map<string, Draft<T>>();
  #changed = false;

  constructor(
    from: PersistentGroups<T>,
    lists: MapEdit<readonly T[]>,
    compare: Compare<T> | undefined,
  ) {
    this.#from = from;
    this.#lists = lists;
    this.#compare = compare;
  }

  get(key: string): readonly T[] {
    const draft = this.#drafts.get(key);
    if (draft !== undefined) this.#settle(key, draft);
    return this.#lists.get(key) ?? NONE;
  }

  /** As many as there will be: cheaper than `get`, for the list is left as it is. */
  count(key: string): number {
    const draft = this.#drafts.get(key);
    return draft === undefined
      ? (this.#lists.get(key)?.length ?? 0)
      : draft.items.length - (draft.removed?.size ?? 0);
  }

  /** `item` is not in the list. */
  add(key: string, item: T): void {
    if (!this.#drafts.has(key) && this.#lists.get(key) === undefined) {
      // Most lists have one item, and an empty array that is pushed to takes room for 17.
      const items = [item];
      this.#drafts.set(key, { items, sorted: 0, removed: undefined });
      return;
    }
    const { items, removed } = this.#draft(key);
    if (removed?.delete(item) !== true) items.push(item);
  }

  /** `item` is in the list. */
  remove(key: string, item: T): void {
    const draft = this.#draft(key);
    const { items } = draft;
    if (items.length > FEW) {
      draft.removed ??= new Set();
      draft.removed.add(item);
      return;
    }
    const at = items.indexOf(item);
    if (at < 0) return;
    items.splice(at, 1);
    if (at < draft.sorted) draft.sorted -= 1;
  }

  /** `items` are in order. */
  set(key: string, items: readonly T[]): void {
    this.#drafts.delete(key);
    this.#put(key, items);
  }

  /** Does by steps most of what `done` would do at once: a list of thousands is sorted. */
  *settle(): Steps<void> {
    for (const [key, draft] of this.#drafts) {
      yield;
      if (
        this.#compare !== undefined &&
        draft.items.length - draft.sorted > FEW
      ) {
        draft.items = yield* sortSteps(draft.items, this.#compare);
        draft.sorted = draft.items.length;
      }
      this.#settle(key, draft);
    }
  }

  /** The groups as they are now: the very ones that it was made of where nothing was changed. */
  done(): PersistentGroups<T> {
    for (const [key, draft] of this.#drafts) this.#settle(key, draft);
    if (this.#changed)
      this.#from = new PersistentGroups(this.#compare, this.#lists.done());
    this.#changed = false;
    return this.#from;
  }

  #draft(key: string): Draft<T> {
    let draft = this.#drafts.get(key);
    if (draft === undefined) {
      const items = this.#lists.get(key)?.slice() ?? [];
      draft = { items, sorted: items.length, removed: undefined };
      this.#drafts.set(key, draft);
    }
    return draft;
  }

  #settle(key: string, { items, sorted, removed }: Draft<T>): void {
    this.#drafts.delete(key);
    const all =
      this.#compare === undefined
        ? items
        : inOrder(items, sorted, this.#compare);
    // Either way a copy, of no more room than it needs.
    this.#put(
      key,
      removed === undefined || removed.size === 0
        ? all.slice()
        : all.filter((item) => !removed.has(item)),
    );
  }

  #put(key: string, items: readonly T[]): void {
    if (items.length > 0) this.#lists.set(key, items);
    else this.#lists.delete(key);
    this.#changed = true;
  }
}

/** The first `sorted` are in order already. */
function inOrder<T>(items: T[], sorted: number, compare: Compare<T>): T[] {
  if (items.length - sorted > FEW) return items.sort(compare);
  for (const item of items.splice(sorted))
    items.splice(placeOf(item, items, compare), 0, item);
  return items;
}

/** Before the first that goes after `item`. */
function placeOf<T>(item: T, list: readonly T[], compare: Compare<T>): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = list[middle];
    if (at !== undefined && compare(at, item) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
