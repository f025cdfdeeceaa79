/** Policies that a removed Service leaves without what they are for: those that name it in `targetRefs`, and stay. */
import type { Steps } from "../../core/slices.ts";
import { AUTHORIZATION_POLICY } from "../../resources/authorization-policy/schema.ts";
import type { AuthorizationPolicyResource } from "../../resources/authorization-policy/spec.ts";
import { servicesNamed } from "../../resources/cross-checks/relations.ts";
import {
  formatKey,
  formatName,
  keyOf,
  type Resource,
  type ResourceKey,
} from "../../resources/envelope.ts";
import { FAULT_INJECTION } from "../../resources/fault-injection/schema.ts";
import { REQUEST_AUTHENTICATION } from "../../resources/request-authentication/schema.ts";
import { SERVICE } from "../../resources/service/schema.ts";
import { TRAFFIC_POLICY } from "../../resources/traffic-policy/schema.ts";
import type { MeshView } from "../push/catalogue/mesh-view.ts";

const TARGETING: readonly string[] = [
  AUTHORIZATION_POLICY,
  REQUEST_AUTHENTICATION,
  TRAFFIC_POLICY,
  FAULT_INJECTION,
].map(({ kind }) => kind);

export interface LostTarget {
  readonly policy: Resource;
  /** Index of the Service in the list of what is removed. */
  readonly at: number;
}

/** In the order of kinds and names. */
export function* lostTargets(
  keys: readonly ResourceKey[],
  mesh: Pick<MeshView, "find" | "list">,
): Steps<readonly LostTarget[]> {
  const removed = new Set(keys.map(formatKey));
  const services = new Map<string, number>();
  const namespaces = new Set<string>();
  for (const [at, key] of keys.entries()) {
    if (key.kind !== SERVICE.kind || mesh.find(key) === undefined) continue;
    services.set(formatName(key.namespace, key.name), at);
    namespaces.add(key.namespace);
  }
  const lost: LostTarget[] = [];
  for (const kind of TARGETING)
    for (const namespace of namespaces)
      for (const policy of mesh.list(kind, namespace)) {
        yield;
        if (removed.has(formatKey(keyOf(policy)))) continue;
        for (const path of servicesNamed(policy)) {
          const at = services.get(path);
          if (at !== undefined) lost.push({ policy, at });
        }
      }
  return lost;
}

/** What is left of the policy; undefined where it acts on nothing any more. */
export function withoutTargets(
  policy: AuthorizationPolicyResource,
  keys: readonly ResourceKey[],
): AuthorizationPolicyResource | undefined {
  const { metadata, spec } = policy;
  const targetRefs = (spec.targetRefs ?? []).filter(
    ({ name }) =>
      !keys.some(
        (key) =>
          key.kind === SERVICE.kind &&
          key.namespace === metadata.namespace &&
          key.name === name,
      ),
  );
  return targetRefs.length === 0
    ? undefined
    : { ...policy, spec: { ...spec, targetRefs } };
}

/** As what is said of the Service, which is the subject. */
export function lossText({ policy: { kind, metadata } }: LostTarget): string {
  const { namespace = "", name } = metadata;
  return `is a target of ${kind} ${formatName(namespace, name)}`;
}
