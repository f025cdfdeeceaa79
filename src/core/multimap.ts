/** Several values under one key, each once. A key without values takes no room, and one with a single value little more than that. */

const NONE: ReadonlySet<never> = new Set();

/** A class of its own, so that no value is taken for it. */
class Several<V> extends Set<V> {}

export class Multimap<K, V> {
  /** Most keys have one value, and a Set for each would be most of the memory. */
  readonly #values = new Map<K, V | Several<V>>();

  get(key: K): ReadonlySet<V> {
    const there = this.#values.get(key);
    if (there instanceof Several) return there;
    return there === undefined ? NONE : new Set([there]);
  }

  /** Those that have values. */
  keys(): Iterable<K> {
    return this.#values.keys();
  }

  add(key: K, value: V): void {
    const there = this.#values.get(key);
    if (there === undefined) this.#values.set(key, value);
    else if (there instanceof Several) there.add(value);
    else if (there !== value)
      this.#values.set(key, new Several([there, value]));
  }

  delete(key: K, value: V): void {
    const there = this.#values.get(key);
    if (there === value) this.#values.delete(key);
    else if (there instanceof Several && there.delete(value)) {
      if (there.size > 1) return;
      for (const last of there) this.#values.set(key, last);
    }
  }
}
