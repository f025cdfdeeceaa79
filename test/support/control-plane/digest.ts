/** The digest of a whole set at once: what both ends of a push keep in step with changes must come to the same. */
import {
  digestSum,
  digestTerm,
  formatDigest,
} from "../../../src/push/names.ts";

/** In whichever order. */
export function digestOf(
  versions: Iterable<readonly [name: string, version: string]>,
): string {
  let sum = 0n;
  for (const [name, version] of versions)
    sum = digestSum(sum, digestTerm(name, version));
  return formatDigest(sum);
}
