/** Items of a kind by namespace, then name: what comes is sorted in when somebody asks, so that a list costs its length. */
import type { Item } from "./item.ts";

interface Placed {
  readonly place: string;
  readonly item: Item;
}

export class SortedItems {
  #sorted: readonly Placed[] = [];
  readonly #fresh: Placed[] = [];

  add(namespace: string, name: string, item: Item): void {
    // U+0000 is in no name, and sorts before every character that is.
    this.#fresh.push({ place: `${namespace}\0${name}`, item });
  }

  /** Those that are there now. */
  list(): readonly Item[] {
    const fresh = this.#fresh.splice(0).filter(isThere).sort(byPlace);
    this.#sorted = merged(this.#sorted.filter(isThere), fresh);
    return this.#sorted.map(({ item }) => item);
  }
}

function isThere({ item }: Placed): boolean {
  return item.entry !== undefined;
}

function byPlace(left: Placed, right: Placed): number {
  return left.place < right.place ? -1 : left.place > right.place ? 1 : 0;
}

function merged(
  left: readonly Placed[],
  right: readonly Placed[],
): readonly Placed[] {
  if (right.length === 0) return left;
  const all: Placed[] = [];
  let next = 0;
  for (const each of left) {
    for (
      let other = right[next];
      other !== undefined && other.place < each.place;
      other = right[next]
    ) {
      all.push(other);
      next += 1;
    }
    all.push(each);
  }
  return [...all, ...right.slice(next)];
}
