/** An immutable map whose versions share all that did not change: to derive one, and to compare two, costs what differs and not what they hold. A value takes less than half the room that it takes in `persistent/map.ts`, and each sidecar's set is one such map. */

/** A value and its key: a number of 32 bits, best given in order from 0. Another value under the same key has the same slot. */
export interface Slotted {
  readonly slot: number;
}

const BITS = 5;
const MASK = 31;

/** One level of a trie over five bits of the slot; a value stands as high as its bits are its alone, so equal maps have equal shapes. */
class Node<V extends Slotted> {
  /** A bit for each branch that is there. */
  readonly branches: number;
  readonly items: readonly Item<V>[];

  constructor(branches: number, items: readonly Item<V>[]) {
    this.branches = branches;
    this.items = items;
  }

  at(bit: number): Item<V> | undefined {
    return (this.branches & bit) === 0
      ? undefined
      : this.items[countBelow(this.branches, bit)];
  }
}

type Item<V extends Slotted> = V | Node<V>;

export class SlotMap<V extends Slotted> {
  readonly size: number;
  readonly #root: Node<V>;

  private constructor(root: Node<V>, size: number) {
    this.#root = root;
    this.size = size;
  }

  static empty<V extends Slotted>(): SlotMap<V> {
    return new SlotMap<V>(new Node<V>(0, []), 0);
  }

  get(slot: number): V | undefined {
    let item: Item<V> | undefined = this.#root;
    for (let shift = 0; item instanceof Node; shift += BITS)
      item = item.at(bitOf(slot, shift));
    return item?.slot === slot ? item : undefined;
  }

  /** The map with the value in place of what had its slot; itself where it holds that very value. */
  with(value: V): SlotMap<V> {
    const root = put(this.#root, value, 0);
    if (root === this.#root) return this;
    const isNew = this.get(value.slot) === undefined;
    return new SlotMap(root, isNew ? this.size + 1 : this.size);
  }

  /** The map without the slot; itself where it does not hold it. */
  without(slot: number): SlotMap<V> {
    if (this.get(slot) === undefined) return this;
    return new SlotMap(cut(this.#root, slot, 0), this.size - 1);
  }

  /** In an order of its own, which other maps do not have. */
  forEach(visit: (value: V) => void): void {
    each(this.#root, visit);
  }

  values(): V[] {
    return valuesOf(this.#root);
  }

  /** Each slot that does not have the same value in both: what it had and what it has. */
  static compare<V extends Slotted>(
    before: SlotMap<V>,
    after: SlotMap<V>,
    visit: (before: V | undefined, after: V | undefined) => void,
  ): void {
    compare(before.#root, after.#root, visit);
  }
}

function put<V extends Slotted>(
  node: Node<V>,
  value: V,
  shift: number,
): Node<V> {
  const bit = bitOf(value.slot, shift);
  const index = countBelow(node.branches, bit);
  const there = node.at(bit);
  if (there === undefined)
    return new Node(node.branches | bit, node.items.toSpliced(index, 0, value));
  const next =
    there instanceof Node
      ? put(there, value, shift + BITS)
      : there.slot === value.slot
        ? value
        : put(
            put(new Node<V>(0, []), there, shift + BITS),
            value,
            shift + BITS,
          );
  return next === there
    ? node
    : new Node(node.branches, node.items.with(index, next));
}

/** The slot is there. */
function cut<V extends Slotted>(
  node: Node<V>,
  slot: number,
  shift: number,
): Node<V> {
  const bit = bitOf(slot, shift);
  const index = countBelow(node.branches, bit);
  const there = node.at(bit);
  if (!(there instanceof Node))
    return new Node(node.branches & ~bit, node.items.toSpliced(index, 1));
  const rest = cut(there, slot, shift + BITS);
  const [only] = rest.items;
  // A value that is left alone goes up, or the shape would tell what was here.
  const next =
    rest.items.length === 1 && only !== undefined && !(only instanceof Node)
      ? only
      : rest;
  return new Node(node.branches, node.items.with(index, next));
}

function each<V extends Slotted>(
  item: Item<V>,
  visit: (value: V) => void,
): void {
  if (item instanceof Node) for (const below of item.items) each(below, visit);
  else visit(item);
}

function valuesOf<V extends Slotted>(item: Item<V>): V[] {
  const values: V[] = [];
  each(item, (value) => values.push(value));
  return values;
}

function compare<V extends Slotted>(
  before: Item<V> | undefined,
  after: Item<V> | undefined,
  visit: (before: V | undefined, after: V | undefined) => void,
): void {
  if (before === after) return;
  if (before === undefined) {
    if (after !== undefined) each(after, (value) => visit(undefined, value));
  } else if (after === undefined)
    each(before, (value) => visit(value, undefined));
  else if (before instanceof Node && after instanceof Node)
    for (let rest = before.branches | after.branches; rest !== 0;) {
      const bit = rest & -rest;
      rest ^= bit;
      compare(before.at(bit), after.at(bit), visit);
    }
  else if (before instanceof Node)
    compareToOne(before, after as V, (one, other) => visit(other, one));
  else compareToOne(after, before, visit);
}

/** `one` against all that is in `item`. */
function compareToOne<V extends Slotted>(
  item: Item<V>,
  one: V,
  visit: (one: V | undefined, other: V | undefined) => void,
): void {
  let met = false;
  for (const value of valuesOf(item)) {
    const same = value.slot === one.slot;
    if (same) met = true;
    if (value !== one) visit(same ? one : undefined, value);
  }
  if (!met) visit(one, undefined);
}

function bitOf(slot: number, shift: number): number {
  return 1 << ((slot >>> shift) & MASK);
}

/** How many of the branches come before that of the bit. */
function countBelow(branches: number, bit: number): number {
  let bits = branches & (bit - 1);
  bits -= (bits >>> 1) & 0x55555555;
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return (((bits + (bits >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}
