/** What each author's entries take of the audit log, and whose go first where there is no room: those of the author that takes the most. */
import type { AuditLimits } from "./audit.ts";

/** Entries, and the bytes of what they say. */
export interface AuditSize {
  readonly rows: number;
  readonly bytes: number;
}

interface Share {
  readonly author: string;
  rows: number;
  bytes: number;
  /** Part of the entries or of the bytes that there may be, whichever is more. */
  weight: number;
  /** Index in the heap. */
  place: number;
}

const NOTHING: AuditSize = { rows: 0, bytes: 0 };

export class AuditShares {
  readonly #limits: Pick<AuditLimits, "entries" | "bytes">;
  readonly #shares = new Map<string, Share>();
  /** The heaviest first; each is as heavy as those at twice its index, plus one and two, or heavier. */
  readonly #heap: Share[] = [];
  #rows = 0;
  #bytes = 0;
  /** What was there of each that has changed since `begin`. */
  readonly #before = new Map<string, AuditSize>();

  constructor(limits: Pick<AuditLimits, "entries" | "bytes">) {
    this.#limits = limits;
  }

  /** There is more than there may be. */
  get isOver(): boolean {
    const { entries, bytes } = this.#limits;
    return this.#rows > entries || this.#bytes > bytes;
  }

  /** The author whose oldest entry is to go; undefined where none has more than one: then the oldest of all goes. */
  get heaviest(): string | undefined {
    const [first] = this.#heap;
    return first === undefined || first.weight === 0 ? undefined : first.author;
  }

  add(author: string, { rows, bytes }: AuditSize): void {
    this.#change(author, rows, bytes);
  }

  remove(author: string, bytes: number): void {
    this.#change(author, -1, -bytes);
  }

  /** What changes from here on can be undone. */
  begin(): void {
    this.#before.clear();
  }

  undo(): void {
    const before = [...this.#before];
    for (const [author, { rows, bytes }] of before) {
      const now = this.#shares.get(author) ?? NOTHING;
      this.#change(author, rows - now.rows, bytes - now.bytes);
    }
    this.begin();
  }

  #change(author: string, rows: number, bytes: number): void {
    const share = this.#shares.get(author) ?? this.#enter(author);
    if (!this.#before.has(author))
      this.#before.set(author, { rows: share.rows, bytes: share.bytes });
    share.rows += rows;
    share.bytes += bytes;
    this.#rows += rows;
    this.#bytes += bytes;
    share.weight = this.#weightOf(share);
    this.#settle(share);
    if (share.rows === 0) this.#leave(share);
  }

  /** The only entry of an author outlives all others but those that are the only ones, too. */
  #weightOf({ rows, bytes }: AuditSize): number {
    if (rows <= 1) return 0;
    return Math.max(rows / this.#limits.entries, bytes / this.#limits.bytes);
  }

  #enter(author: string): Share {
    const place = this.#heap.length;
    const share: Share = { author, ...NOTHING, weight: 0, place };
    this.#heap.push(share);
    this.#shares.set(author, share);
    return share;
  }

  #leave(share: Share): void {
    this.#shares.delete(share.author);
    const last = this.#heap.pop();
    if (last === undefined || last === share) return;
    this.#put(last, share.place);
    this.#settle(last);
  }

  #put(share: Share, place: number): void {
    share.place = place;
    this.#heap[place] = share;
  }

  #settle(share: Share): void {
    for (;;) {
      const above = this.#heap[(share.place - 1) >> 1];
      if (above === undefined || above.weight >= share.weight) break;
      this.#swap(above, share);
    }
    for (;;) {
      const below = this.#heavierBelow(share.place);
      if (below === undefined || below.weight <= share.weight) break;
      this.#swap(share, below);
    }
  }

  #heavierBelow(place: number): Share | undefined {
    const left = this.#heap[2 * place + 1];
    const right = this.#heap[2 * place + 2];
    return left !== undefined &&
      right !== undefined &&
      right.weight > left.weight
      ? right
      : left;
  }

  #swap(upper: Share, lower: Share): void {
    const { place } = lower;
    this.#put(lower, upper.place);
    this.#put(upper, place);
  }
}
