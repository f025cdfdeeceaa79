/**
 * What AuthorizationPolicies that change no verdict would do to a call: those on trial (Istio's dry run) and those of AUDIT. Made of
 * the same evaluator as the verdict, and not there where a workload has none of them.
 */
import { filterSteps, sortSteps, type Steps } from "../../core/slices.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import {
  inForce,
  isInForce,
  isOnTrial,
} from "../../resources/authorization-policy/trial.ts";
import { applies, nameOf, type AuthorizedWorkload } from "./applies.ts";
import {
  compileAuthorization,
  type AuthorizationSettings,
  type AuthorizationTrace,
  type Authorizer,
  type Verdict,
} from "./authorization.ts";
import type { AuthorizationFacts } from "./call.ts";
import type { NotGiven } from "./tests.ts";

/** "refused", "admitted": the verdict would be another. "matched": a rule of an AUDIT matches. */
export type ShadowEffect = "refused" | "admitted" | "matched";

export interface ShadowFinding {
  /** "NAMESPACE/NAME" */
  readonly policy: string;
  readonly effect: ShadowEffect;
  /** Index of the rule that matches; absent where none does, which is what refuses. */
  readonly rule?: number;
}

export interface Shadow {
  /** `verdict`: the one that counts. Empty where nothing would be another, and no AUDIT matches. */
  judge(facts: AuthorizationFacts, verdict: Verdict): readonly ShadowFinding[];
  /** Rules of which it is not known whether they match, before the first of their policy that does: attributes of the call were not given. */
  open(facts: AuthorizationFacts, notGiven: NotGiven): readonly OpenTrial[];
}

export interface OpenTrial {
  /** "NAMESPACE/NAME" */
  readonly policy: string;
  readonly rule: number;
  /** It is of an AUDIT, which changes nothing of what others would do. */
  readonly audits: boolean;
  readonly dependsOn: readonly string[];
}

/** One policy by itself: whether a rule of it matches, and which. */
interface Lone {
  readonly name: string;
  readonly match: (facts: AuthorizationFacts) => number | undefined;
  readonly open: (
    facts: AuthorizationFacts,
    notGiven: NotGiven,
  ) => readonly Omit<OpenTrial, "audits">[];
}

const NOTHING: readonly ShadowFinding[] = [];

/** Undefined where no policy on trial and no AUDIT is for the workload. */
export function* compileShadow(
  policies: readonly AuthorizationPolicyResource[],
  workload: AuthorizedWorkload,
  settings: AuthorizationSettings,
): Steps<Shadow | undefined> {
  const applying = yield* filterSteps(policies, (policy) =>
    applies(policy, workload),
  );
  const quiet = yield* filterSteps(applying, (policy) => !isInForce(policy));
  if (quiet.length === 0) return undefined;
  const sorted = yield* sortSteps(quiet, (left, right) =>
    nameOf(left) < nameOf(right) ? -1 : 1,
  );
  const lone = function* (
    chosen: (policy: AuthorizationPolicyResource) => boolean,
  ): Steps<readonly Lone[]> {
    const made: Lone[] = [];
    for (const policy of sorted)
      if (chosen(policy)) made.push(yield* loneOf(policy, workload, settings));
    return made;
  };
  const denies = ({ spec }: AuthorizationPolicyResource): boolean =>
    spec.action === "DENY";
  const audits = yield* lone((policy) => !isOnTrial(policy));
  const deny = yield* lone((policy) => isOnTrial(policy) && denies(policy));
  const allow = yield* lone((policy) => isOnTrial(policy) && !denies(policy));
  // As if all on trial were in force, but for what the trials of DENY refuse: ALLOW is judged apart (Istio).
  const together = yield* compileAuthorization(
    applying
      .filter((policy) => !(isOnTrial(policy) && denies(policy)))
      .map(inForce),
    workload,
    settings,
  );
  const judge = shadowOf(deny, allow, together);
  return {
    judge(facts, verdict) {
      const findings = judge(facts, verdict);
      const matched = matchesOf(audits, facts, "matched");
      if (matched.length === 0) return findings;
      return findings.length === 0 ? matched : [...findings, ...matched];
    },
    open: (facts, notGiven) =>
      [audits, deny, allow].flatMap((policies) =>
        policies.flatMap(({ open }) =>
          open(facts, notGiven).map((rule) => ({
            ...rule,
            audits: policies === audits,
          })),
        ),
      ),
  };
}

function shadowOf(
  deny: readonly Lone[],
  allow: readonly Lone[],
  together: Authorizer,
): Shadow["judge"] {
  return (facts, verdict) => {
    if (verdict.kind === "allow") {
      const denied = matchesOf(deny, facts, "refused");
      if (allow.length === 0 || together.authorize(facts).kind === "allow")
        return denied;
      // None of them matches, and each by itself would close the workload.
      return [
        ...denied,
        ...allow.map(({ name }) => ({
          policy: name,
          effect: "refused" as const,
        })),
      ];
    }
    if (
      allow.length === 0 ||
      together.authorize(facts).kind !== "allow" ||
      deny.some(({ match }) => match(facts) !== undefined)
    )
      return NOTHING;
    return matchesOf(allow, facts, "admitted");
  };
}

function matchesOf(
  policies: readonly Lone[],
  facts: AuthorizationFacts,
  effect: ShadowEffect,
): readonly ShadowFinding[] {
  let found: ShadowFinding[] | undefined;
  for (const { name, match } of policies) {
    const rule = match(facts);
    if (rule === undefined) continue;
    found ??= [];
    found.push({ policy: name, effect, rule });
  }
  return found ?? NOTHING;
}

/** What is missing in a call matches in a DENY and in an AUDIT, and does not in an ALLOW (trap 3): each is asked as what it is. */
function* loneOf(
  policy: AuthorizationPolicyResource,
  workload: AuthorizedWorkload,
  settings: AuthorizationSettings,
): Steps<Lone> {
  const { rules } = policy.spec;
  const name = nameOf(policy);
  if (policy.spec.action === "ALLOW" || policy.spec.action === undefined) {
    // By rules of their own, for a verdict of ALLOW does not name one.
    const each: Authorizer[] = [];
    for (const rule of rules ?? []) {
      const spec = { ...policy.spec, rules: [rule] };
      each.push(
        yield* compileAuthorization(
          [inForce({ ...policy, spec })],
          workload,
          settings,
        ),
      );
    }
    return {
      name,
      match(facts) {
        const index = each.findIndex(
          (rule) => rule.authorize(facts).kind === "allow",
        );
        return index < 0 ? undefined : index;
      },
      open(facts, notGiven) {
        const asked = each.map((rule) => rule.explain(facts, notGiven));
        const first = asked.findIndex(
          ({ verdict }) => verdict.kind === "allow",
        );
        return asked
          .slice(0, first < 0 ? undefined : first)
          .flatMap((trace, rule) =>
            openRules(trace).map((open) => ({ ...open, rule })),
          );
      },
    };
  }
  const spec = { ...policy.spec, action: "DENY" as const };
  const authorizer = yield* compileAuthorization(
    [inForce({ ...policy, spec })],
    workload,
    { ...settings, authorization: { defaultAction: "ALLOW" } },
  );
  return {
    name,
    match(facts) {
      const verdict = authorizer.authorize(facts);
      return verdict.kind === "deny" ? verdict.rule : undefined;
    },
    open: (facts, notGiven) => openRules(authorizer.explain(facts, notGiven)),
  };
}

function openRules({
  considered,
}: AuthorizationTrace): readonly Omit<OpenTrial, "audits">[] {
  return considered.flatMap(({ policy, rule = 0, dependsOn }) =>
    dependsOn === undefined ? [] : [{ policy, rule, dependsOn }],
  );
}
