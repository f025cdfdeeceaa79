/** Wildcard hosts as Gateway API means them: "*.example.com" is every name with any number of labels before ".example.com", and not that name itself. */

const WILDCARD = "*.";
/** Labels behind the wildcard: a look-up of a host asks for so many wildcards at most, whatever a caller sends. */
const FEWEST_LABELS = 2;
export const MOST_LABELS = 8;

export function isWildcard(host: string): boolean {
  return host.startsWith(WILDCARD);
}

/** The name behind the wildcard; the host itself where it has none. */
export function baseOf(host: string): string {
  return isWildcard(host) ? host.slice(WILDCARD.length) : host;
}

/** The wildcards that take the host in, or all that it takes in, the longest first. Not itself. */
export function wildcardsOver(host: string): readonly string[] {
  const labels = baseOf(host).split(".");
  const found: string[] = [];
  for (
    let count = Math.min(labels.length - 1, MOST_LABELS);
    count >= FEWEST_LABELS;
    count -= 1
  )
    found.push(`${WILDCARD}${labels.slice(-count).join(".")}`);
  return found;
}

/** Why a wildcard before that name is of no use, or takes in too much; undefined where it is none. */
export function baseFault(base: string): string | undefined {
  const { length } = base.split(".");
  if (length < FEWEST_LABELS)
    return "takes in every name of a top-level domain: expected at least two labels behind the wildcard, such as *.example.com";
  return length > MOST_LABELS
    ? `has more than ${MOST_LABELS} labels behind the wildcard`
    : undefined;
}
