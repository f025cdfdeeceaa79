/** Texts by their beginnings, or by their ends: one walk along a value finds all that it begins or ends with. */

interface Node<T> {
  /** What leads to it from its parent. */
  label: string;
  items: T[] | undefined;
  /** By the first code of their labels; by the last one where texts are read from their ends. */
  children: Map<number, Node<T>> | undefined;
}

/** Its size is that of its texts, and a walk takes no longer than the value is. */
export class TextTrie<T> {
  readonly #fromEnd: boolean;
  readonly #root: Node<T> = {
    label: "",
    items: undefined,
    children: undefined,
  };

  constructor(direction: "beginnings" | "ends") {
    this.#fromEnd = direction === "ends";
  }

  add(text: string, item: T): void {
    let node = this.#root;
    let rest = text;
    while (rest !== "") {
      const code = this.#first(rest);
      const child = node.children?.get(code);
      if (child === undefined) {
        const leaf = { label: rest, items: undefined, children: undefined };
        (node.children ??= new Map()).set(code, leaf);
        node = leaf;
        break;
      }
      const shared = this.#shared(child.label, rest);
      node =
        shared === child.label.length
          ? child
          : this.#split(node, child, shared);
      rest = this.#without(rest, shared);
    }
    (node.items ??= []).push(item);
  }

  /** Adds to `found` the items of each text that the value begins (or ends) with, those of the shortest first. */
  collect(value: string, found: (readonly T[])[]): void {
    let node = this.#root;
    let done = 0;
    for (;;) {
      if (node.items !== undefined) found.push(node.items);
      const left = value.length - done;
      const at = this.#fromEnd ? left - 1 : done;
      const child = node.children?.get(value.charCodeAt(at));
      if (child === undefined || child.label.length > left) return;
      const start = this.#fromEnd ? left - child.label.length : done;
      if (!value.startsWith(child.label, start)) return;
      done += child.label.length;
      node = child;
    }
  }

  #first(text: string): number {
    return text.charCodeAt(this.#fromEnd ? text.length - 1 : 0);
  }

  /** How much of both texts is the same, from where they are read. */
  #shared(left: string, right: string): number {
    const most = Math.min(left.length, right.length);
    let count = 0;
    while (count < most && this.#code(left, count) === this.#code(right, count))
      count += 1;
    return count;
  }

  #code(text: string, count: number): number {
    return text.charCodeAt(this.#fromEnd ? text.length - 1 - count : count);
  }

  #without(text: string, count: number): string {
    return this.#fromEnd
      ? text.slice(0, text.length - count)
      : text.slice(count);
  }

  /** A node for the first `count` codes of the child's label, between the two. */
  #split(parent: Node<T>, child: Node<T>, count: number): Node<T> {
    const { label } = child;
    const middle: Node<T> = {
      label: this.#fromEnd
        ? label.slice(label.length - count)
        : label.slice(0, count),
      items: undefined,
      children: undefined,
    };
    child.label = this.#without(label, count);
    middle.children = new Map([[this.#first(child.label), child]]);
    parent.children?.set(this.#first(middle.label), middle);
    return middle;
  }
}
