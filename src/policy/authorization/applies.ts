/** Whether an AuthorizationPolicy is for a workload, and why not. */
import {
  formatName,
  ROOT_NAMESPACE,
  selects,
  type Resource,
} from "../../resources/envelope.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import type { Selector } from "../../resources/schema-parts.ts";

export interface AuthorizedWorkload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

export function nameOf(policy: AuthorizationPolicyResource): string {
  return formatName(policy.metadata.namespace ?? "", policy.metadata.name);
}

/** A resource whose scope is the workloads of its namespace, or those of them that it selects. */
type Scoped = Resource<{ readonly selector?: Selector }>;

function isFor(
  { metadata: { namespace } }: Scoped,
  workload: AuthorizedWorkload,
): boolean {
  return namespace === ROOT_NAMESPACE || namespace === workload.namespace;
}

export function applies(policy: Scoped, workload: AuthorizedWorkload): boolean {
  const { selector } = policy.spec;
  return (
    isFor(policy, workload) &&
    (selector === undefined || selects(selector.matchLabels, workload.labels))
  );
}

/**
 * Why the policy is not for the workload; undefined where it is. Root namespace: the whole mesh (trap 17); any other: its own
 * workloads. The selector narrows either (trap 16).
 */
function inapplicable(
  policy: AuthorizationPolicyResource,
  workload: AuthorizedWorkload,
): string | undefined {
  const { metadata, spec } = policy;
  if (!isFor(policy, workload))
    return `it is for the workloads of namespace ${metadata.namespace ?? ""}`;
  const { selector } = spec;
  return selector === undefined || applies(policy, workload)
    ? undefined
    : `it selects ${labelsText(selector.matchLabels)}, and the workload has ${labelsText(workload.labels)}`;
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
