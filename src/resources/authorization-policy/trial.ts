/** Which AuthorizationPolicies change no verdict: those on trial (Istio's dry run) and those of AUDIT. */
import type { AuthorizationPolicyResource } from "./spec.ts";

/** Annotation: the policy is only tried. */
export const DRY_RUN = "istio.io/dry-run";

/** What it would refuse or let in is only told. A CUSTOM is never on trial: to ask is what it does. */
export function isOnTrial({
  metadata,
  spec: { action },
}: AuthorizationPolicyResource): boolean {
  return (
    metadata.annotations?.[DRY_RUN] === "true" &&
    action !== "AUDIT" &&
    action !== "CUSTOM"
  );
}

/** It has a say in verdicts. */
export function isInForce(policy: AuthorizationPolicyResource): boolean {
  return policy.spec.action !== "AUDIT" && !isOnTrial(policy);
}

/** The same policy as if it were not only tried. */
export function inForce(
  policy: AuthorizationPolicyResource,
): AuthorizationPolicyResource {
  const { [DRY_RUN]: _trial, ...annotations } =
    policy.metadata.annotations ?? {};
  return { ...policy, metadata: { ...policy.metadata, annotations } };
}
