/** The other names of the mesh's trust domain: what a policy says of one of them it says of all (Istio's trust domain aliases). */

/** In a principal it stands for the mesh's trust domain, whatever that is (Istio). */
const LOCAL_DOMAIN = "cluster.local";

/**
 * The principals that are meant by those of a policy. `domains`: the mesh's trust domain and its aliases.
 * One that names no trust domain, but begins with a star and a slash, is of each of them anyway.
 */
export function principalsMeant(
  principals: readonly string[],
  domains: readonly string[],
): readonly string[] {
  if (domains.length === 0) return principals;
  return unique(
    principals.flatMap((principal) => {
      const slash = principal.indexOf("/");
      const domain = slash < 0 ? "*" : principal.slice(0, slash);
      if (domain === "*" || !isOwn(domain, domains)) return [principal];
      return domains.map((each) =>
        isMatched(each, domain)
          ? principal
          : `${each}${principal.slice(slash)}`,
      );
    }),
  );
}

/** The same for lists of trust domains, where one that is written in full stands for all. */
export function domainsMeant(
  values: readonly string[],
  domains: readonly string[],
): readonly string[] {
  return unique(
    values.flatMap((value) => (domains.includes(value) ? domains : [value])),
  );
}

function isOwn(domain: string, domains: readonly string[]): boolean {
  return (
    domain === LOCAL_DOMAIN || domains.some((each) => isMatched(each, domain))
  );
}

function isMatched(domain: string, pattern: string): boolean {
  return pattern.startsWith("*")
    ? domain.endsWith(pattern.slice(1))
    : domain === pattern;
}

function unique(values: readonly string[]): readonly string[] {
  return [...new Set(values)];
}
