/** The encoder's dynamic table (RFC 7541 2.3.2): fields found by value, and what is worth remembering decided by what was asked for again. */
import { STATIC_ENTRIES, STATIC_NAMES, STATIC_TABLE } from "./static-table.ts";

/** Values of one name in a row that were not asked for again, after which its values are mostly sent without indexing. */
const COLD = 8;
/** One value in so many of a cold name is indexed all the same, to notice when that has changed … */
const PROBE = 64;
/** … and so many are looked up from it on: to look up each of a name whose values never come again is work for nothing. */
const LOOKED_UP = 4;
/** Entries of one value that are looked at: a caller that sends one value under ever new names must not buy a walk through the table with each. */
const CHAIN = 8;
/** Names remembered; the record begins anew above it. */
const NAMES = 512;

/** What is known of a name. */
export interface NameUse {
  readonly name: string;
  /** Its lowest index in the static table, 0 where it has none. */
  readonly staticIndex: number;
  /** The number of the last entry with this name. */
  last: number;
  /** Values since the last hit. */
  misses: number;
  /** The name's string literal, made when it is first sent. */
  literal: Buffer | undefined;
}

interface Entry {
  readonly use: NameUse;
  readonly value: string;
  readonly size: number;
  /** Entries are numbered from 1 on. */
  readonly number: number;
  /** Other entries of the same value, in the order in which they were added. */
  older: Entry | undefined;
  newer: Entry | undefined;
}

export class EncoderTable {
  readonly #byValue: Map<string, Entry> = new Map<string, Entry>();
  readonly #uses: Map<string, NameUse> = new Map<string, NameUse>();
  /** Oldest first, from `head` on. */
  #entries: Entry[] = [];
  #head = 0;
  #newest = 0;
  #octets = 0;
  #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get maxSize(): number {
    return this.#limit;
  }

  /** The index that stands for the whole field, or 0. */
  find(use: NameUse, value: string): number {
    let entry = this.#byValue.get(value);
    for (let seen = 0; entry !== undefined && seen < CHAIN; seen += 1) {
      if (entry.use === use) {
        use.misses = 0;
        return this.#indexOf(entry.number);
      }
      entry = entry.older;
    }
    const { name } = use;
    // All but one of the ordinary fields of the static table have an empty value.
    if (value !== "" && name !== "accept-encoding" && name !== ":path")
      return 0;
    const index = staticIndex(name, value);
    if (index > 0) use.misses = 0;
    return index;
  }

  use(name: string): NameUse {
    const known = this.#uses.get(name);
    if (known !== undefined) return known;
    if (this.#uses.size >= NAMES) this.#uses.clear();
    const use: NameUse = {
      name: flat(name),
      staticIndex: STATIC_NAMES.get(name) ?? 0,
      last: 0,
      misses: 0,
      literal: undefined,
    };
    this.#uses.set(use.name, use);
    return use;
  }

  /** Whether a value of this name may be in the table at all: not where the last ones were of no use (ids, paths). Asked once for each. */
  worthFinding(use: NameUse): boolean {
    use.misses += 1;
    return use.misses <= COLD || use.misses % PROBE < LOOKED_UP;
  }

  /** Whether a value that was looked up and not found is to be added. */
  worthIndexing(use: NameUse): boolean {
    return use.misses <= COLD || use.misses % PROBE === 0;
  }

  /** The index of an entry with this name, or 0. */
  indexOfName(use: NameUse): number {
    return use.last > this.#newest - (this.#entries.length - this.#head)
      ? this.#indexOf(use.last)
      : 0;
  }

  /** Adds an entry as the peer's decoder will: evicting from the oldest on; one larger than the table empties it (4.4). */
  add(use: NameUse, value: string): void {
    const size = use.name.length + value.length + 32;
    this.#shrink(this.#limit - size);
    if (size > this.#limit) return;
    const own = flat(value);
    const older = this.#byValue.get(own);
    const entry: Entry = {
      use,
      value: own,
      size,
      number: ++this.#newest,
      older,
      newer: undefined,
    };
    if (older !== undefined) older.newer = entry;
    use.last = entry.number;
    this.#byValue.set(own, entry);
    this.#entries.push(entry);
    this.#octets += size;
  }

  resize(limit: number): void {
    this.#limit = limit;
    this.#shrink(limit);
  }

  #indexOf(number: number): number {
    return STATIC_ENTRIES + 1 + this.#newest - number;
  }

  #shrink(room: number): void {
    while (this.#octets > room) {
      const oldest = this.#entries[this.#head];
      if (oldest === undefined) return;
      this.#head += 1;
      this.#octets -= oldest.size;
      this.#forget(oldest);
    }
    if (this.#head > 64 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Takes the oldest entry, which is last in its chain, out of `byValue`. */
  #forget(oldest: Entry): void {
    if (oldest.newer === undefined) this.#byValue.delete(oldest.value);
    else oldest.newer.older = undefined;
  }
}

function staticIndex(name: string, value: string): number {
  const first = STATIC_NAMES.get(name) ?? 0;
  if (first === 0) return 0;
  for (let index = first; ; index++) {
    const field = STATIC_TABLE[index - 1];
    if (field?.name !== name) return 0;
    if (field.value === value) return index;
  }
}

/** A copy, not a slice of something longer: a whole request head would live as long as the entry. */
function flat(text: string): string {
  return text.length < 13
    ? text
    : Buffer.from(text, "latin1").toString("latin1");
}
