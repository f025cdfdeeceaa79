/** What policies do beside the verdict, from the guide's table and Istio's reference: dry runs, AUDIT, and the providers that CUSTOM asks. */
import {
  actingOf,
  fullName,
  oracle,
  ruleThatMatches,
  type OracleCall,
  type OracleMesh,
  type OraclePolicy,
  type OracleWorkload,
} from "./oracle.ts";

/** "POLICY[RULE] EFFECT" of each. */
export function trials(
  policies: readonly OraclePolicy[],
  workload: OracleWorkload,
  mesh: OracleMesh,
  call: OracleCall,
): readonly string[] {
  const verdict = oracle(policies, workload, mesh, call);
  const acting = actingOf(policies, workload, mesh);
  const found: string[] = [];
  const matching = (policy: OraclePolicy): string | undefined => {
    const rule = ruleThatMatches(policy, mesh, call);
    return rule < 0 ? undefined : `${fullName(policy)}[${rule}]`;
  };
  const tried = (action: string): readonly OraclePolicy[] =>
    acting.filter(
      (policy) => policy.dryRun === true && policy.action === action,
    );
  const denying = tried("DENY").flatMap((policy) => matching(policy) ?? []);
  if (verdict === "allow") {
    // "allowed calls that it would refuse"
    for (const each of denying) found.push(`${each} refused`);
    // "allowed calls that neither it nor another ALLOW lists"
    const allows = acting.filter(({ action }) => action === "ALLOW");
    if (allows.every((policy) => matching(policy) === undefined))
      for (const policy of tried("ALLOW"))
        found.push(`${fullName(policy)} refused`);
  } else if (verdict === "not allowed" && denying.length === 0)
    // "refused calls that it would let in"
    for (const policy of tried("ALLOW")) {
      const by = matching(policy);
      if (by !== undefined) found.push(`${by} admitted`);
    }
  // "calls that one of its rules matches, allowed or not"
  for (const policy of acting)
    if (policy.action === "AUDIT") {
      const by = matching(policy);
      if (by !== undefined) found.push(`${by} matched`);
    }
  return found.sort();
}

/** "PROVIDER by POLICY[RULE]" of each that is asked, in turn. */
export function asks(
  policies: readonly OraclePolicy[],
  workload: OracleWorkload,
  mesh: OracleMesh,
  call: OracleCall,
): readonly string[] {
  const asked = new Map<string, string>();
  for (const policy of actingOf(policies, workload, mesh)) {
    const { action, provider = "" } = policy;
    const rule = ruleThatMatches(policy, mesh, call);
    if (action === "CUSTOM" && rule >= 0 && !asked.has(provider))
      asked.set(provider, `${provider} by ${fullName(policy)}[${rule}]`);
  }
  return [...asked.values()];
}
