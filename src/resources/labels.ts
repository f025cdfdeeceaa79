/** Labels as keys of an index: what selects is looked up by its rarest label, not by all. */

/** One for each label; neither a namespace nor a label's name has a space in it. */
export function labelKeys(
  namespace: string,
  labels: Readonly<Record<string, string>>,
): readonly string[] {
  return Object.entries(labels).map(
    ([name, value]) => `${namespace} ${name} ${value}`,
  );
}

/** The first of those of which there are fewest; undefined without keys. */
export function rarest(
  keys: readonly string[],
  count: (key: string) => number,
): string | undefined {
  let found: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const key of keys) {
    const here = count(key);
    if (here >= least) continue;
    least = here;
    found = key;
  }
  return found;
}
