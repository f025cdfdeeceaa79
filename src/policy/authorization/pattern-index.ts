/** Items under patterns: finds those whose patterns a value has the shape of, without a look at the others. */
import type { Pattern, Shape } from "./patterns.ts";
import { TextTrie } from "./text-trie.ts";

export class PatternIndex<T> {
  readonly #exact = new Map<string, T[]>();
  #beginnings: TextTrie<T> | undefined;
  #ends: TextTrie<T> | undefined;

  add({ kind, text }: Shape, item: T): void {
    switch (kind) {
      case "exact": {
        const items = this.#exact.get(text);
        if (items === undefined) this.#exact.set(text, [item]);
        else items.push(item);
        return;
      }
      case "prefix":
        (this.#beginnings ??= new TextTrie("beginnings")).add(text, item);
        return;
      case "suffix":
        (this.#ends ??= new TextTrie("ends")).add(text, item);
    }
  }

  /** Adds to `found` the items of each pattern that is the value's, in the order in which they were added. */
  collect(value: string, found: (readonly T[])[]): void {
    const exact = this.#exact.get(value);
    if (exact !== undefined) found.push(exact);
    this.#beginnings?.collect(value, found);
    this.#ends?.collect(value, found);
  }
}

/** So many are tried in turn; more are found by their shapes. */
const FEW = 8;

/** Whether a value meets any of the patterns. */
export function anyOf(
  patterns: readonly Pattern[],
): (value: string) => boolean {
  const tests = patterns.map(({ meets }) => meets);
  const [only] = tests;
  if (only !== undefined && tests.length === 1) return only;
  if (tests.length <= FEW) return (value) => tests.some((test) => test(value));
  const index = new PatternIndex<Pattern["meets"]>();
  for (const { shape, meets } of patterns) index.add(shape, meets);
  return (value) => {
    const found: (readonly Pattern["meets"][])[] = [];
    index.collect(value, found);
    return found.some((some) => some.some((test) => test(value)));
  };
}
