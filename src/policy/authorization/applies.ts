/** Whether an AuthorizationPolicy is for a workload, and why not. */
import {
  formatName,
  ROOT_NAMESPACE,
  type Resource,
} from "../../resources/envelope.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import {
  isForWorkload,
  type PolicyTargets,
  type TargetedWorkload,
} from "../../resources/policy-targets.ts";

export type AuthorizedWorkload = TargetedWorkload;

export function nameOf(policy: AuthorizationPolicyResource): string {
  return formatName(policy.metadata.namespace ?? "", policy.metadata.name);
}

export function applies(
  policy: Resource<PolicyTargets>,
  workload: AuthorizedWorkload,
): boolean {
  return isForWorkload(policy, workload);
}

function inapplicable(
  policy: AuthorizationPolicyResource,
  workload: AuthorizedWorkload,
): string | undefined {
  if (isForWorkload(policy, workload)) return undefined;
  const { metadata, spec } = policy;
  const { namespace = "" } = metadata;
  const { selector, targetRefs } = spec;
  if (namespace !== workload.namespace && namespace !== ROOT_NAMESPACE)
    return `it is for the workloads of namespace ${namespace}`;
  if (targetRefs !== undefined)
    return `it is for ${targetRefs.map(({ name }) => `Service ${formatName(namespace, name)}`).join(", ")}, which ${targetRefs.length === 1 ? "does" : "do"} not lead to this port of the workload`;
  return `it selects ${labelsText(selector?.matchLabels ?? {})}, and the workload has ${labelsText(workload.labels)}`;
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? "no labels" : pairs.join(",");
}

/** Those that are not for the workload, the ones of its own namespace first. */
export function passedOverOf(
  policies: readonly AuthorizationPolicyResource[],
  workload: AuthorizedWorkload,
): { readonly policy: string; readonly why: string }[] {
  const isNear = ({ metadata }: AuthorizationPolicyResource): number =>
    Number(metadata.namespace === workload.namespace);
  return policies
    .toSorted((left, right) => isNear(right) - isNear(left))
    .flatMap((policy) => {
      const why = inapplicable(policy, workload);
      return why === undefined ? [] : [{ policy: nameOf(policy), why }];
    });
}
