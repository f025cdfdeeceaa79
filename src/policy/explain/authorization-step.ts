/** What the AuthorizationPolicies of the callee make of a request, rule by rule, and what they depend on that nobody has said. */
import type {
  AuthorizationTrace,
  ConsideredRule,
} from "../authorization/authorization.ts";
import type { AuthorizationFacts } from "../authorization/call.ts";
import type { ShadowFinding } from "../authorization/shadow.ts";
import type { NotGiven } from "../authorization/tests.ts";
import type { InboundPort } from "../snapshot.ts";
import {
  decision,
  notMatched,
  sourceOf,
  type Decision,
  type Dependence,
  type Lookup,
  type NotMatched,
  type Refusal,
  type Source,
} from "./decision.ts";
import { addressNote, type AskedConnection } from "./not-given.ts";

export interface Authorized {
  readonly decision: Decision;
  /** "NAMESPACE/NAME" of the policy that allowed. */
  readonly allowedBy: string | undefined;
  /** What policies would do that change no verdict. */
  readonly shadow: readonly ShadowFinding[];
  readonly dependsOn: readonly Dependence[];
}

/** `connection`: as it was asked about. */
export function explainAuthorization(
  find: Lookup,
  port: InboundPort,
  facts: AuthorizationFacts,
  notGiven: NotGiven,
  connection: AskedConnection,
): Authorized {
  const trace = port.explain(facts, notGiven);
  const open = openRules(trace);
  const trials = openTrials(port, facts, notGiven);
  const shadow = certainFindings(
    port.shadow?.judge(facts, trace.verdict) ?? [],
    trials,
    open.some(({ changes }) => changes === "allowed"),
  );
  const { decision, allowedBy } = authorized(find, facts, trace);
  const details = [
    ...decision.details,
    ...addressNote(port, facts, connection),
    ...shadow.map(shadowText),
    ...trials.map(trialText),
  ];
  return {
    decision: { ...decision, details },
    allowedBy,
    shadow,
    dependsOn: [...open, ...trials],
  };
}

/** Rules of policies in force that may match, and what that would change. */
function openRules({
  verdict,
  considered,
}: AuthorizationTrace): readonly Dependence[] {
  const allowed = verdict.kind === "allow";
  return considered.flatMap(({ policy, rule = 0, action, dependsOn: on }) => {
    if (on === undefined) return [];
    const decides = allowed
      ? action === "DENY"
      : action === "ALLOW" && verdict.code === "NOT_ALLOWED";
    return [
      {
        policy,
        rule,
        action,
        on,
        changes: decides ? "allowed" : "by",
      } as const,
    ];
  });
}

function openTrials(
  { shadow }: InboundPort,
  facts: AuthorizationFacts,
  notGiven: NotGiven,
): readonly Dependence[] {
  return (shadow?.open(facts, notGiven) ?? []).map(
    ({ policy, rule, audits, dependsOn: on }) => ({
      ...{ policy, rule, on },
      action: audits ? ("AUDIT" as const) : ("TRIAL" as const),
      changes: "shadow" as const,
    }),
  );
}

/** Those that hold whatever was not given. What a trial comes to depends on the verdict, and that of an ALLOW on all trials. */
function certainFindings(
  findings: readonly ShadowFinding[],
  open: readonly Dependence[],
  verdictIsOpen: boolean,
): readonly ShadowFinding[] {
  const openPolicies = new Set(open.map(({ policy }) => policy));
  const trialsAreOpen =
    verdictIsOpen || open.some(({ action }) => action === "TRIAL");
  return findings.filter(({ policy, effect, rule }) => {
    if (openPolicies.has(policy)) return false;
    if (effect === "matched") return true;
    return effect === "refused" && rule !== undefined
      ? !verdictIsOpen
      : !trialsAreOpen;
  });
}

function authorized(
  find: Lookup,
  { peer }: AuthorizationFacts,
  { verdict, considered, passedOver }: AuthorizationTrace,
): Pick<Authorized, "decision" | "allowedBy"> {
  const matched = considered.find(({ why }) => why === undefined);
  const others = rulesNotMatched(considered, passedOver);
  const made = (
    outcome: string,
    source: Source | undefined,
    refusal?: Refusal,
  ): Decision =>
    decision("callee", "authorization", outcome, {
      source,
      notMatched: others,
      ...(refusal === undefined ? {} : { refusal }),
    });
  const caller = peer ?? "a caller without identity";
  if (verdict.kind === "allow")
    return matched === undefined
      ? {
          decision: made(
            "allowed: no policy forbids it, and the Mesh allows what none speaks of",
            meshAction(find),
          ),
          allowedBy: undefined,
        }
      : {
          decision: made(
            `allowed: ${ruleText(matched)} takes it`,
            authorizationSource(matched),
          ),
          allowedBy: matched.policy,
        };
  const { code, policy } = verdict;
  const refusal = { code, policy };
  if (matched !== undefined)
    return {
      decision: made(
        `${ruleText(matched)} takes it`,
        authorizationSource(matched),
        refusal,
      ),
      allowedBy: undefined,
    };
  const listed = considered.some(({ action }) => action === "ALLOW");
  return {
    decision: made(
      listed
        ? `ALLOW policies act on the workload, and none of their rules takes ${caller}`
        : `no policy allows it, and the Mesh denies what none speaks of`,
      listed ? sourceOf("AuthorizationPolicy", policy) : meshAction(find),
      refusal,
    ),
    allowedBy: undefined,
  };
}

/** What a policy would do that changes no verdict. */
export function shadowText({ policy, effect, rule }: ShadowFinding): string {
  const by = rule === undefined ? policy : `rule ${rule} of ${policy}`;
  switch (effect) {
    case "refused":
      return rule === undefined
        ? `dry run: no rule of ${policy} takes it, which would refuse it`
        : `dry run: ${by} would refuse it`;
    case "admitted":
      return `dry run: ${by} would allow it`;
    case "matched":
      return `audit: ${by} matches it`;
  }
}

function trialText({ policy, rule, action, on }: Dependence): string {
  return `${action === "AUDIT" ? "audit" : "dry run"}: whether rule ${rule} of ${policy} matches depends on ${on.join(" and ")}, which was not given`;
}

function rulesNotMatched(
  considered: readonly ConsideredRule[],
  passedOver: AuthorizationTrace["passedOver"],
): readonly NotMatched[] {
  return [
    ...considered.flatMap((each) =>
      each.why === undefined
        ? []
        : [notMatched(authorizationSource(each), each.why, each.dependsOn)],
    ),
    ...passedOver.map(({ policy, why }) => ({
      source: sourceOf("AuthorizationPolicy", policy),
      why,
    })),
  ];
}

function meshAction(find: Lookup): Source | undefined {
  return find("Mesh/default") === undefined
    ? undefined
    : sourceOf("Mesh", "default", "spec.authorization.defaultAction");
}

function ruleText({ policy, action, rule }: ConsideredRule): string {
  return `rule ${rule ?? 0} of ${action} ${policy}`;
}

function authorizationSource({ policy, rule }: ConsideredRule): Source {
  return sourceOf(
    "AuthorizationPolicy",
    policy,
    rule === undefined ? "spec" : `spec.rules[${rule}]`,
  );
}
