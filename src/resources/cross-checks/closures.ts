/** Which Services of a set of files an ALLOW closes: what no rule of it matches is refused there, and without the last one it is open again (trap 2). */
import { AUTHORIZATION_POLICY } from "../authorization-policy/schema.ts";
import type { AuthorizationPolicyResource } from "../authorization-policy/spec.ts";
import { isInForce } from "../authorization-policy/trial.ts";
import { formatName, type Resource } from "../envelope.ts";
import { isKind } from "../kind.ts";
import { isForWorkload } from "../policy-targets.ts";
import {
  isExternal,
  SERVICE,
  type ServiceResource,
} from "../service/schema.ts";

export interface Closure {
  /** "NAMESPACE/NAME" of the Service. */
  readonly service: string;
  /** "NAMESPACE/NAME" of the ALLOW policies that act on all of its workloads; with one of them, its deletion opens the Service. */
  readonly by: readonly string[];
}

/** In the order of the files. */
export function closuresIn(resources: readonly Resource[]): readonly Closure[] {
  const allows = resources
    .filter((each) => isKind(AUTHORIZATION_POLICY, each))
    .filter((each) => isInForce(each) && isAllow(each));
  if (allows.length === 0) return [];
  return resources
    .filter((each) => isKind(SERVICE, each))
    .filter(({ spec }) => !isExternal(spec))
    .flatMap((service) => {
      const by = allows.filter((policy) => isForAllOf(policy, service));
      return by.length === 0
        ? []
        : [{ service: nameOf(service), by: by.map(nameOf) }];
    });
}

function isAllow({ spec: { action } }: AuthorizationPolicyResource): boolean {
  return action === undefined || action === "ALLOW";
}

/** The Service's own selector says which labels its workloads have at least. */
function isForAllOf(
  policy: AuthorizationPolicyResource,
  { metadata: { name, namespace = "" }, spec }: ServiceResource,
): boolean {
  return isForWorkload(policy, {
    namespace,
    labels: spec.selector ?? {},
    services: new Set([name]),
  });
}

function nameOf({ metadata }: Resource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}
