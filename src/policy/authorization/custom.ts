/** Which providers are asked about a call before DENY and ALLOW judge it: AuthorizationPolicies with action CUSTOM, by the same rules. */
import { filterSteps, sortSteps, type Steps } from "../../core/slices.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import {
  trustDomainsOf,
  type MeshSettings,
} from "../../resources/mesh/schema.ts";
import { applies, nameOf, type AuthorizedWorkload } from "./applies.ts";
import { explained } from "./authorization.ts";
import { callOf, type AuthorizationFacts } from "./call.ts";
import { compileRule, headersRead } from "./rule.ts";
import type { NotGiven, Test } from "./tests.ts";

/** A rule that asks. */
export interface CustomMatch {
  /** By its name in the Mesh. */
  readonly provider: string;
  /** "NAMESPACE/NAME" */
  readonly policy: string;
  readonly rule: number;
}

export interface CustomRule extends CustomMatch {
  /** Why it does not match; undefined where it does. */
  readonly why: string | undefined;
  /** Attributes that were not given, on which it depends whether it matches; absent where that is known. */
  readonly dependsOn?: readonly string[];
}

export interface CustomAuthorizer {
  /** All that may be asked, each once. */
  readonly providers: readonly string[];
  /** Names of the headers that the rules read. */
  readonly headers: readonly string[];
  /** The rules for which somebody is asked, one a provider, by the names of their policies. */
  matches(facts: AuthorizationFacts): readonly CustomMatch[];
  /** All rules, by the same tests. */
  explain(facts: AuthorizationFacts, notGiven: NotGiven): readonly CustomRule[];
}

interface CompiledRule extends CustomMatch {
  readonly test: Test;
}

/** Undefined where no such policy is for the workload, as with most. */
export function* compileCustom(
  policies: readonly AuthorizationPolicyResource[],
  workload: AuthorizedWorkload,
  {
    trustedHops,
    ...domains
  }: Pick<MeshSettings, "trustedHops" | "trustDomain" | "trustDomainAliases">,
): Steps<CustomAuthorizer | undefined> {
  const custom = yield* filterSteps(
    policies,
    (policy) => policy.spec.action === "CUSTOM" && applies(policy, workload),
  );
  if (custom.length === 0) return undefined;
  const sorted = yield* sortSteps(custom, (left, right) =>
    nameOf(left) < nameOf(right) ? -1 : 1,
  );
  const trustDomains = trustDomainsOf(domains);
  const rules: CompiledRule[] = [];
  for (const each of sorted) {
    yield;
    const { metadata, spec } = each;
    const { namespace = "" } = metadata;
    const policy = nameOf(each);
    for (const [rule, written] of (spec.rules ?? []).entries())
      rules.push({
        // One that came without is asked for in vain: nobody has that name.
        provider: spec.provider?.name ?? "",
        policy,
        rule,
        // As for a DENY: what only HTTP has and a call lacks is not a way around it (trap 3).
        test: compileRule(written, {
          ...{ denies: true, namespace, trustedHops, trustDomains },
        }),
      });
  }
  return {
    providers: [...new Set(rules.map(({ provider }) => provider))],
    headers: sorted.flatMap(headersRead),
    matches(facts) {
      const call = callOf(facts);
      const matching: CompiledRule[] = [];
      for (const rule of rules)
        if (
          matching.every(({ provider }) => provider !== rule.provider) &&
          rule.test.meets(call)
        )
          matching.push(rule);
      return matching;
    },
    explain(facts, notGiven) {
      const call = callOf(facts);
      return rules.map(({ test, ...rule }) => ({
        ...rule,
        ...explained(test, call, notGiven),
      }));
    },
  };
}

/** Why a provider cannot be asked, so that the call is refused; undefined where it can. `bytes`: the call is not HTTP. */
export function unaskable(
  { mesh }: { readonly mesh: Pick<MeshSettings, "authorization"> },
  name: string,
  bytes: boolean,
): string | undefined {
  const provider = mesh.authorization.providers.find(
    (each) => each.name === name,
  );
  if (provider === undefined)
    return `the Mesh has no provider ${JSON.stringify(name)}`;
  return bytes && provider.server.kind === "http"
    ? `provider ${name} speaks HTTP, and the call is bytes; a provider that speaks gRPC can be asked about it`
    : undefined;
}
