/** Several values under one key, each once. A key without values takes no room. */

const NONE: ReadonlySet<never> = new Set();

export class Multimap<K, V> {
  readonly #sets = new Map<K, Set<V>>();

  get(key: K): ReadonlySet<V> {
    return this.#sets.get(key) ?? NONE;
  }

  /** Those that have values. */
  keys(): Iterable<K> {
    return this.#sets.keys();
  }

  add(key: K, value: V): void {
    const there = this.#sets.get(key);
    if (there === undefined) this.#sets.set(key, new Set([value]));
    else there.add(value);
  }

  delete(key: K, value: V): void {
    const there = this.#sets.get(key);
    if (there?.delete(value) === true && there.size === 0)
      this.#sets.delete(key);
  }
}
