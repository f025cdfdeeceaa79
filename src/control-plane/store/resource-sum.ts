/** The sum over a store's resources, written with each change: a database whose pages are of two times reads well, and has another. */
import { digestSum, digestTerm, formatDigest } from "../../push/names.ts";
import { formatKey, keyOf, type Resource } from "../../resources/envelope.ts";
import type { Write } from "./group-commit.ts";
import { StoreError } from "./store.ts";

export class ResourceSum {
  #sum = 0n;

  /** Adds what is there at the start. */
  add(resource: Resource): void {
    this.#sum = digestSum(this.#sum, termOf(resource));
  }

  /** Throws StoreError where what was `noted` is of that revision and other resources, or of a later one. A version of this program that knows no sum may have written since it was noted. */
  check(noted: string | undefined, newest: number, file: string): void {
    const [revision = "", sum] = noted?.split(" ") ?? [];
    if (noted === undefined || Number(revision) < newest) return;
    if (Number(revision) === newest && sum === formatDigest(this.#sum)) return;
    throw new StoreError(
      `${file} has pages of another database: it does not hold what revision ${revision} wrote. A backup that was put beside the -wal file of the database before it becomes so. Move both files away, and put the backup there again, alone`,
      { damaged: true },
    );
  }

  /** What it is after these writes, up to the revision: to be noted with them. */
  after(writes: readonly Write[]): bigint {
    let sum = this.#sum;
    for (const { before, after } of writes) {
      if (before !== undefined) sum = digestSum(sum, -termOf(before));
      if (after !== undefined) sum = digestSum(sum, termOf(after));
    }
    return sum;
  }

  /** They are on the disk. */
  set(sum: bigint): void {
    this.#sum = sum;
  }
}

export function sumNote(revision: number, sum: bigint): string {
  return `${revision} ${formatDigest(sum)}`;
}

function termOf(resource: Resource): bigint {
  return digestTerm(
    formatKey(keyOf(resource)),
    resource.metadata.resourceVersion ?? "",
  );
}
