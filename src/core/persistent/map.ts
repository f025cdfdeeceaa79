/** A map that never changes: a changed copy shares with it what is the same, so that it costs what the change costs. Keys are texts; `slot-map.ts` wants a number for each, and numbers for texts that come and go would need a table that never shrinks. */

/** Branches of a level; two levels lead to small maps, of which a change copies one. */
const BITS = 5;
const BRANCHES = 1 << BITS;

type Leaf<V> = Map<string, V>;
type Branch<V> = (Leaf<V> | undefined)[];
type Root<V> = (Branch<V> | undefined)[];

/** One key of two maps that is not the same in both; undefined where it is not there. */
export interface MapDifference<V> {
  readonly key: string;
  readonly before: V | undefined;
  readonly after: V | undefined;
}

export class PersistentMap<V> implements ReadonlyMap<string, V> {
  readonly size: number;
  readonly #root: Root<V>;

  constructor(root: Root<V> = [], size = 0) {
    this.#root = root;
    this.size = size;
  }

  get(key: string): V | undefined {
    const hash = hashOf(key);
    return this.#root[first(hash)]?.[second(hash)]?.get(key);
  }

  has(key: string): boolean {
    const hash = hashOf(key);
    return this.#root[first(hash)]?.[second(hash)]?.has(key) === true;
  }

  /** In no order that means anything. */
  *entries(): MapIterator<[string, V]> {
    for (const leaf of this.#leaves()) yield* leaf;
    return undefined;
  }

  *keys(): MapIterator<string> {
    for (const leaf of this.#leaves()) yield* leaf.keys();
    return undefined;
  }

  *values(): MapIterator<V> {
    for (const leaf of this.#leaves()) yield* leaf.values();
    return undefined;
  }

  forEach(
    each: (value: V, key: string, map: ReadonlyMap<string, V>) => void,
  ): void {
    for (const leaf of this.#leaves())
      leaf.forEach((value, key) => each(value, key, this));
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries();
  }

  /** What makes this map of an older one: what both share is passed over. */
  *since(older: PersistentMap<V>): Generator<MapDifference<V>> {
    for (let at = 0; at < BRANCHES; at += 1) {
      const branches = [older.#root[at] ?? [], this.#root[at] ?? []] as const;
      if (branches[0] === branches[1]) continue;
      for (let leaf = 0; leaf < BRANCHES; leaf += 1)
        yield* differencesOf(branches[0][leaf], branches[1][leaf]);
    }
  }

  *#leaves(): Generator<Leaf<V>> {
    for (const branch of this.#root)
      for (const leaf of branch ?? []) if (leaf !== undefined) yield leaf;
  }

  edit(): MapEdit<V> {
    return new MapEdit(this, this.#root);
  }
}

export function isPersistent<V>(
  map: ReadonlyMap<string, V>,
): map is PersistentMap<V> {
  return map instanceof PersistentMap;
}

/** A copy that is being changed. What it was made of stays as it is. */
export class MapEdit<V> {
  #from: PersistentMap<V>;
  #root: Root<V>;
  #size: number;
  /** What was copied for this edit, and may be changed. */
  #own = new Set<object>();

  constructor(from: PersistentMap<V>, root: Root<V>) {
    this.#from = from;
    this.#root = root;
    this.#size = from.size;
  }

  get size(): number {
    return this.#size;
  }

  get(key: string): V | undefined {
    const hash = hashOf(key);
    return this.#root[first(hash)]?.[second(hash)]?.get(key);
  }

  set(key: string, value: V): void {
    const leaf = this.#leaf(hashOf(key));
    if (!leaf.has(key)) this.#size += 1;
    leaf.set(key, value);
  }

  delete(key: string): void {
    if (this.get(key) === undefined) return;
    this.#leaf(hashOf(key)).delete(key);
    this.#size -= 1;
  }

  /** The map as it is now: the very one that it was made of where nothing was changed. */
  done(): PersistentMap<V> {
    if (this.#own.size > 0) {
      this.#from = new PersistentMap(this.#root, this.#size);
      this.#own = new Set();
    }
    return this.#from;
  }

  /** The small map in which a key with the hash is, ready to be changed. */
  #leaf(hash: number): Leaf<V> {
    const root = this.#owned(this.#root, copyOf);
    this.#root = root;
    const branch = this.#owned(root[first(hash)] ?? [], copyOf);
    root[first(hash)] = branch;
    const leaf = this.#owned(
      branch[second(hash)] ?? new Map<string, V>(),
      (map) => new Map(map),
    );
    branch[second(hash)] = leaf;
    return leaf;
  }

  #owned<T extends object>(part: T, copy: (part: T) => T): T {
    if (this.#own.has(part)) return part;
    const own = copy(part);
    this.#own.add(own);
    return own;
  }
}

function* differencesOf<V>(
  before: Leaf<V> | undefined,
  after: Leaf<V> | undefined,
): Generator<MapDifference<V>> {
  if (before === after) return;
  for (const [key, value] of before ?? [])
    if (after?.get(key) !== value)
      yield { key, before: value, after: after?.get(key) };
  for (const [key, value] of after ?? [])
    if (before?.has(key) !== true)
      yield { key, before: undefined, after: value };
}

function copyOf<T>(list: T[]): T[] {
  return list.slice();
}

function first(hash: number): number {
  return hash & (BRANCHES - 1);
}

function second(hash: number): number {
  return (hash >>> BITS) & (BRANCHES - 1);
}

/** FNV-1a, with its upper half folded in. Keys that are chosen to collide make one small map larger, and no look-up slower. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at += 1)
    hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  return hash ^ (hash >>> 16);
}
