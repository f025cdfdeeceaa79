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
import { isInForce } from "../../resources/authorization-policy/trial.ts";
import { MESH_NAME, type MeshSettings } from "../../resources/mesh/schema.ts";
import {
  applies,
  nameOf,
  passedOverOf,
  type AuthorizedWorkload,
} from "./applies.ts";
import { callOf, type AuthorizationFacts, type Call } from "./call.ts";
import { compileRule, headersRead } from "./rule.ts";
import type { NotGiven, Test } from "./tests.ts";

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
  /** How `authorize` came to its verdict, by the same tests. With `notGiven`: as if no rule matched that depends on one of them. */
  explain(facts: AuthorizationFacts, notGiven?: NotGiven): AuthorizationTrace;
  /** "NAMESPACE/NAME" of the policies that apply, DENY first. */
  readonly policies: readonly string[];
  /** Names of the headers that their rules read. */
  readonly headers: readonly string[];
}

export interface AuthorizationTrace {
  readonly verdict: Verdict;
  /** In the order in which they were asked; the last one matched if one did, and those that are open might have before it. */
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
  /** Attributes that were not given, on which it depends whether it matches; absent where that is known. */
  readonly dependsOn?: readonly string[];
}

const ALLOW: Verdict = { kind: "allow" };
const NOTHING: NotGiven = new Set();

interface CompiledPolicy {
  readonly name: string;
  readonly action: "DENY" | "ALLOW";
  readonly rules: readonly CompiledRule[];
}

interface CompiledRule {
  readonly test: Test;
  /** Where a DENY's rule decides; one a rule, so that a refusal allocates nothing. */
  readonly denial: Verdict;
}

/** What authorization takes from the Mesh. */
export type AuthorizationSettings = Pick<MeshSettings, "trustedHops"> & {
  readonly authorization: Pick<MeshSettings["authorization"], "defaultAction">;
} & Partial<Pick<MeshSettings, "trustDomain" | "trustDomainAliases">>;

/** By steps: a mesh may have thousands of policies, for one workload or for all of them. */
export function* compileAuthorization(
  policies: readonly AuthorizationPolicyResource[],
  workload: AuthorizedWorkload,
  settings: AuthorizationSettings,
): Steps<Authorizer> {
  const { defaultAction } = settings.authorization;
  const applying = yield* filterSteps(
    policies,
    (policy) =>
      policy.spec.action !== "CUSTOM" &&
      isInForce(policy) &&
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
    const list = policy.spec.action === "DENY" ? deny : allow;
    list.push(yield* compilePolicy(policy, settings));
  }
  const names = [...deny, ...allow].map((policy) => policy.name);
  // Asked for by `explain` alone: the mesh may have thousands of them.
  let notApplying: AuthorizationTrace["passedOver"] | undefined;
  const passedOver = (): AuthorizationTrace["passedOver"] =>
    (notApplying ??= passedOverOf(policies, workload));
  const otherwise = verdictWithoutMatch(allow, defaultAction);
  const denying = deny.flatMap(({ rules }) => rules);
  const allowing = allow.flatMap(({ rules }) => rules);

  const authorize = (facts: AuthorizationFacts): Verdict => {
    const call = callOf(facts);
    for (const { test, denial } of denying) if (test.meets(call)) return denial;
    for (const { test } of allowing) if (test.meets(call)) return ALLOW;
    return otherwise;
  };
  return {
    policies: names,
    headers: sorted.flatMap(([, policy]) => headersRead(policy)),
    authorize:
      denying.length === 0 && allowing.length === 0
        ? () => otherwise
        : authorize,
    explain(facts, notGiven = NOTHING) {
      const asked = considered([...deny, ...allow], callOf(facts), notGiven);
      return {
        verdict:
          notGiven.size === 0 ? authorize(facts) : verdictOf(asked, otherwise),
        considered: asked,
        passedOver: passedOver(),
      };
    },
  };
}

/** The rules in turn, to the first that matches. */
function considered(
  policies: readonly CompiledPolicy[],
  call: Call,
  notGiven: NotGiven,
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
    for (const [rule, { test }] of rules.entries()) {
      const told = explained(test, call, notGiven);
      asked.push({ policy, action, rule, ...told });
      if (told.why === undefined) return asked;
    }
  }
  return asked;
}

/** Why a call does not meet a test, or that it is not known. */
export function explained(
  test: Test,
  call: Call,
  notGiven: NotGiven,
): Pick<ConsideredRule, "why" | "dependsOn"> {
  const told = test.tells(call, notGiven);
  if (typeof told === "boolean")
    return { why: told ? undefined : test.why(call) };
  return {
    why: `it depends on ${told.join(" and ")}, which was not given`,
    dependsOn: told,
  };
}

/** What the walk over the rules comes to, as if those that are open did not match. */
function verdictOf(
  asked: readonly ConsideredRule[],
  otherwise: Verdict,
): Verdict {
  const last = asked.at(-1);
  if (last === undefined || last.why !== undefined) return otherwise;
  const { policy, rule = 0, action } = last;
  return action === "ALLOW"
    ? ALLOW
    : { kind: "deny", code: "DENIED", policy, rule };
}

/** What is left where no rule matches. */
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

function* compilePolicy(
  policy: AuthorizationPolicyResource,
  { trustedHops, trustDomain, trustDomainAliases = [] }: AuthorizationSettings,
): Steps<CompiledPolicy> {
  const trustDomains =
    trustDomain === undefined ? [] : [trustDomain, ...trustDomainAliases];
  const name = nameOf(policy);
  const { namespace = "" } = policy.metadata;
  const denies = policy.spec.action === "DENY";
  const rules: CompiledRule[] = [];
  for (const [order, rule] of (policy.spec.rules ?? []).entries()) {
    yield;
    rules.push({
      test: compileRule(rule, { denies, namespace, trustedHops, trustDomains }),
      denial: { kind: "deny", code: "DENIED", policy: name, rule: order },
    });
  }
  return { name, action: denies ? "DENY" : "ALLOW", rules };
}
