/** The branches of a store's history. One that is put back from a backup counts its revisions again, and what it has under a number is something else than before. */
import { randomBytes } from "node:crypto";

/** A revision as somebody knows it. */
export interface KnownRevision {
  readonly branch: string;
  readonly revision: number;
}

/** What was written since the store was opened, up to its next opening: behind revision `from`. */
interface Branch {
  readonly id: string;
  readonly from: number;
}

/** Branches that are kept. A config of an older one counts as not of this history. */
const MOST = 4096;

/** Each opening of the store begins a branch with its first write, so that no copy of the store goes on in the same. */
export class Branches {
  readonly #all: readonly Branch[];
  readonly #begun: boolean;

  private constructor(all: readonly Branch[], begun: boolean) {
    this.#all = all;
    this.#begun = begun;
  }

  /** `noted`: the text of those before this opening. Throws SyntaxError where it is damaged. */
  static before(noted: string | undefined): Branches {
    return new Branches(JSON.parse(noted ?? "[]") as Branch[], false);
  }

  /** Those with the present one, which begins behind the `newest` revision; the same where it has begun already. */
  begin(newest: number): Branches {
    if (this.#begun) return this;
    const id = randomBytes(8).toString("hex");
    return new Branches(
      [...this.#all, { id, from: newest }].slice(-MOST),
      true,
    );
  }

  /** The one that the newest revision is on; "" where there is none. */
  get present(): string {
    return this.#all.at(-1)?.id ?? "";
  }

  /** Whether the revision is one of these. */
  have({ branch, revision }: KnownRevision, newest: number): boolean {
    // From the end: nearly all that is asked about is of the present one.
    const at = this.#all.findLastIndex(({ id }) => id === branch);
    const [own, next] = this.#all.slice(at, at + 2);
    return (
      at >= 0 &&
      own !== undefined &&
      revision >= own.from &&
      revision <= (next?.from ?? newest)
    );
  }

  toString(): string {
    return JSON.stringify(this.#all);
  }
}
