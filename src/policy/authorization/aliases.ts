/** The other names of the mesh's trust domain: what a policy says of one of them it says of all (Istio's trust domain aliases). */

import { isDeepStrictEqual } from "node:util";
import type {
  AuthorizationCondition,
  AuthorizationPolicySpec,
  AuthorizationSource,
} from "../../resources/authorization-policy/spec.ts";

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

/** The policy as it has to be said to who takes the names of trust domains as they are written. Itself where that means the same. */
export function spelledOut(
  spec: AuthorizationPolicySpec,
  domains: readonly string[],
): AuthorizationPolicySpec {
  const { rules } = spec;
  if (rules === undefined) return spec;
  const spelled = rules.map(({ from, when, ...rest }) => ({
    ...rest,
    ...(from && {
      from: from.map(({ source }) => ({ source: ofSource(source, domains) })),
    }),
    ...(when && { when: when.map((each) => ofCondition(each, domains)) }),
  }));
  return isDeepStrictEqual(spelled, rules) ? spec : { ...spec, rules: spelled };
}

function ofSource(
  source: AuthorizationSource,
  domains: readonly string[],
): AuthorizationSource {
  return {
    ...source,
    ...listsMeant(source, ["principals", "notPrincipals"], (values) =>
      principalsMeant(values, domains),
    ),
    ...listsMeant(source, ["trustDomains", "notTrustDomains"], (values) =>
      domainsMeant(values, domains),
    ),
  };
}

function ofCondition(
  condition: AuthorizationCondition,
  domains: readonly string[],
): AuthorizationCondition {
  if (condition.key !== "source.principal") return condition;
  const lists = listsMeant(condition, ["values", "notValues"], (values) =>
    principalsMeant(values, domains),
  );
  return { ...condition, ...lists };
}

function listsMeant<K extends string>(
  of: Readonly<Partial<Record<K, readonly string[]>>>,
  names: readonly K[],
  meant: (values: readonly string[]) => readonly string[],
): Partial<Record<K, readonly string[]>> {
  const lists: Partial<Record<K, readonly string[]>> = {};
  for (const name of names) {
    const values = of[name];
    if (values !== undefined) lists[name] = meant(values);
  }
  return lists;
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
