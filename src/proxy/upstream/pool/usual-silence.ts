/** How long the silences of a connection usually are: the 99th percentile of the latest few hundred, in looks at it. */

/** Silences after which what was counted weighs half. */
const WINDOW = 512;
const SHARE = 0.99;
/** Short silences that are taken for granted of a new one: the first that is long may be chance. */
const PRIOR = 100;

export class UsualSilence {
  /** By length; the last holds all that are longer. */
  readonly #counts: Uint16Array;
  #total = PRIOR;

  /** `most`: what is longer makes no difference. */
  constructor(most: number) {
    this.#counts = new Uint16Array(most + 1);
    this.#counts[0] = PRIOR;
  }

  /** A silence has ended. `looks`: 0 where something came between every two looks. */
  add(looks: number): void {
    const counts = this.#counts;
    const place = Math.min(looks, counts.length - 1);
    counts[place] = (counts[place] ?? 0) + 1;
    this.#total += 1;
    if (this.#total < WINDOW) return;
    this.#total = 0;
    for (const [index, count] of counts.entries()) {
      counts[index] = count >> 1;
      this.#total += count >> 1;
    }
  }

  /** Looks that 99 of 100 silences do not exceed. */
  get longest(): number {
    let left = this.#total * SHARE;
    for (const [looks, count] of this.#counts.entries()) {
      left -= count;
      if (left <= 0) return looks;
    }
    return 0;
  }
}
