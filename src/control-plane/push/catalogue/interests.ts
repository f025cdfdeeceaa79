/** What a sidecar asks for, as scopes go by it: kept as a sum, so that a change costs what changes, and equal for all that ask for the same. */
import { randomUUID } from "node:crypto";
import { EVERYTHING, SELF } from "../../../push/interest.ts";
import { digestSum, digestTerm, formatDigest } from "../../../push/names.ts";

/** Names of subscriptions; each that is added was not there, and each that is removed was. */
export interface InterestChange {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

/** Without it, nobody can find two interests of the same sum. */
const SECRET = randomUUID();

export class Interests {
  /** Before a sidecar has said what it asks for. */
  static readonly NOTHING: Interests = new Interests(false, false, 0n);

  /** Everything in scope. */
  readonly everything: boolean;
  /** What acts on the sidecar itself. */
  readonly self: boolean;
  readonly #sum: bigint;

  private constructor(everything: boolean, self: boolean, sum: bigint) {
    this.everything = everything;
    this.self = self;
    this.#sum = sum;
  }

  /** The same for the same names, in whichever order they came. */
  get key(): string {
    return formatDigest(this.#sum);
  }

  /** Whether both ask, or both do not, for everything and for what acts on the sidecar itself. */
  isLike(other: Interests): boolean {
    return this.everything === other.everything && this.self === other.self;
  }

  changed({ add, remove }: InterestChange): Interests {
    let sum = this.#sum;
    for (const name of add) sum = digestSum(sum, digestTerm(name, SECRET));
    for (const name of remove) sum = digestSum(sum, -digestTerm(name, SECRET));
    const has = (name: string, before: boolean): boolean =>
      add.includes(name) || (before && !remove.includes(name));
    return new Interests(
      has(EVERYTHING, this.everything),
      has(SELF, this.self) || has(EVERYTHING, this.everything),
      sum,
    );
  }
}
