/**
 * Whether a call may reach a workload: DENY before ALLOW before the mesh's default (AuthorizationPolicy of Istio).
 *
 * One ALLOW policy for a workload turns its default into "deny what is not listed" (trap 2); a policy without rules matches
 * nothing, so an empty ALLOW denies everything (trap 1). Every policy that applies counts, they add up (trap 13).
 */
import {
  filterSteps,
  pieces,
  sortSteps,
  type Steps,
} from "../../core/slices.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import { MESH_NAME, type MeshSettings } from "../../resources/mesh/schema.ts";
import {
  applies,
  nameOf,
  passedOverOf,
  type AuthorizedWorkload,
} from "./applies.ts";
import { callOf, type AuthorizationFacts, type Call } from "./call.ts";
import { compileRule } from "./rule.ts";
import type { Test } from "./tests.ts";

export type Verdict =
  | { readonly kind: "allow" }
  | {
      readonly kind: "deny";
      readonly code: "DENIED" | "NOT_ALLOWED";
      /** "NAMESPACE/NAME", or the Mesh's name where its default action decided. */
      readonly policy: string;
      /** Index of the rule that denied; absent where no rule allowed. */
      readonly rule?: number;
    };

export interface Authorizer {
  authorize(facts: AuthorizationFacts): Verdict;
  /** How `authorize` came to its verdict, by the same tests. */
  explain(facts: AuthorizationFacts): AuthorizationTrace;
  /** "NAMESPACE/NAME" of the policies that apply, DENY first. */
  readonly policies: readonly string[];
}

export interface AuthorizationTrace {
  readonly verdict: Verdict;
  /** In the order in which they were asked; the last one matched if one did. */
  readonly considered: readonly ConsideredRule[];
  /** "NAMESPACE/NAME" of the policies that were given and do not apply to this workload, and why. */
  readonly passedOver: readonly {
    readonly policy: string;
    readonly why: string;
  }[];
}

export interface ConsideredRule {
  /** "NAMESPACE/NAME" */
  readonly policy: string;
  readonly action: "DENY" | "ALLOW";
  /** Undefined for a policy without rules. */
  readonly rule: number | undefined;
  /** Why it did not match; undefined where it did. */
  readonly why: string | undefined;
}

const ALLOW: Verdict = { kind: "allow" };

interface CompiledPolicy {
  readonly name: string;
  readonly action: "DENY" | "ALLOW";
  readonly rules: readonly Test[];
  /** One a rule, so that a refusal allocates nothing. */
  readonly denials: readonly Verdict[];
}

/** What authorization takes from the Mesh. */
export type AuthorizationSettings = Pick<
  MeshSettings,
  "authorization" | "trustedHops"
>;

/** By steps: a mesh may have thousands of policies, for one workload or for all of them. */
export function* compileAuthorization(
  policies: readonly AuthorizationPolicyResource[],
  workload: AuthorizedWorkload,
  { authorization: { defaultAction }, trustedHops }: AuthorizationSettings,
): Steps<Authorizer> {
  const applying = yield* filterSteps(policies, (policy) =>
    applies(policy, workload),
  );
  const named: (readonly [string, AuthorizationPolicyResource])[] = [];
  for (const piece of pieces(applying)) {
    yield;
    for (const policy of piece) named.push([nameOf(policy), policy]);
  }
  const sorted = yield* sortSteps(named, ([left], [right]) =>
    left < right ? -1 : 1,
  );
  const deny: CompiledPolicy[] = [];
  const allow: CompiledPolicy[] = [];
  for (const [, policy] of sorted) {
    yield;
    const list = policy.spec.action === "DENY" ? deny : allow;
    list.push(compilePolicy(policy, trustedHops));
  }
  const names = [...deny, ...allow].map((policy) => policy.name);
  // Asked for by `explain` alone: the mesh may have thousands of them.
  let notApplying: AuthorizationTrace["passedOver"] | undefined;
  const passedOver = (): AuthorizationTrace["passedOver"] =>
    (notApplying ??= passedOverOf(policies, workload));
  const otherwise = verdictWithoutMatch(allow, defaultAction);

  const authorize = (facts: AuthorizationFacts): Verdict => {
    const call = callOf(facts);
    for (const policy of deny) {
      const rule = policy.rules.findIndex((test) => test.meets(call));
      if (rule >= 0) return policy.denials[rule] ?? otherwise;
    }
    for (const policy of allow)
      if (policy.rules.some((test) => test.meets(call))) return ALLOW;
    return otherwise;
  };
  return {
    policies: names,
    authorize:
      deny.length === 0 && allow.every((policy) => policy.rules.length === 0)
        ? () => otherwise
        : authorize,
    explain: (facts) => ({
      verdict: authorize(facts),
      considered: considered([...deny, ...allow], callOf(facts)),
      passedOver: passedOver(),
    }),
  };
}

/** The rules in turn, to the first that matches. */
function considered(
  policies: readonly CompiledPolicy[],
  call: Call,
): ConsideredRule[] {
  const asked: ConsideredRule[] = [];
  for (const { name: policy, action, rules } of policies) {
    if (rules.length === 0)
      asked.push({
        policy,
        action,
        rule: undefined,
        why: "it has no rules, so it matches nothing",
      });
    for (const [rule, test] of rules.entries()) {
      const matches = test.meets(call);
      const why = matches ? undefined : test.why(call);
      asked.push({ policy, action, rule, why });
      if (matches) return asked;
    }
  }
  return asked;
}

/**
 * Why the policy is not for the workload; undefined where it is. Root namespace: the whole mesh (trap 17); any other: its own
 * workloads. The selector narrows either (trap 16).
 */
function verdictWithoutMatch(
  allow: readonly CompiledPolicy[],
  defaultAction: MeshSettings["authorization"]["defaultAction"],
): Verdict {
  const [first] = allow;
  if (first !== undefined)
    return { kind: "deny", code: "NOT_ALLOWED", policy: first.name };
  return defaultAction === "ALLOW"
    ? ALLOW
    : { kind: "deny", code: "NOT_ALLOWED", policy: MESH_NAME };
}

function compilePolicy(
  policy: AuthorizationPolicyResource,
  trustedHops: number,
): CompiledPolicy {
  const name = nameOf(policy);
  const { namespace = "" } = policy.metadata;
  const denies = policy.spec.action === "DENY";
  const rules = policy.spec.rules ?? [];
  return {
    name,
    action: denies ? "DENY" : "ALLOW",
    rules: rules.map((rule) =>
      compileRule(rule, { denies, namespace, trustedHops }),
    ),
    denials: rules.map((_rule, index) => ({
      kind: "deny",
      code: "DENIED",
      policy: name,
      rule: index,
    })),
  };
}
