/** Policies for sidecars that compare the names of trust domains as they are written: every name of the own one is spelled out. */
import { isDeepStrictEqual } from "node:util";
import type {
  AuthorizationCondition,
  AuthorizationPolicySpec,
  AuthorizationSource,
} from "../../resources/authorization-policy/spec.ts";
import { domainsMeant, principalsMeant } from "./aliases.ts";

/** The policy as a sidecar needs it that takes the names of trust domains as they are written. Itself where that means the same. */
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
