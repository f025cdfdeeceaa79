/** Who may do what over the API: a pure table of role, verb and place. */
import {
  accountOf,
  placesOf,
} from "../../../resources/ownership/address-owners.ts";
import { ROOT_NAMESPACE, type Resource } from "../../../resources/envelope.ts";
import { isKind } from "../../../resources/kind.ts";
import {
  isExternal,
  SERVICE,
  visibilityOf,
} from "../../../resources/service/schema.ts";
import {
  WORKLOAD,
  type WorkloadResource,
} from "../../../resources/workload/schema.ts";
import type { Principal } from "../../tokens.ts";

export type Verb = "read" | "write";

/**
 * Why the principal may not, in words for it; undefined where it may. `namespace` is "" for the kinds of the whole mesh and
 * undefined for a collection over all namespaces.
 */
export function refusal(
  principal: Principal,
  verb: Verb,
  namespace: string | undefined,
): string | undefined {
  const { role, namespaces } = principal;
  if (role === "admin" && namespaces === undefined) return undefined;
  if (verb === "write" && role === "viewer")
    return `${holding(principal)} has the role viewer, which only reads; writing needs editor or admin`;
  // What stands there acts on the whole mesh (trap 17).
  if (verb === "write" && (namespace === "" || namespace === ROOT_NAMESPACE))
    return `writing ${namespace === "" ? "a resource of the whole mesh" : `in namespace ${ROOT_NAMESPACE}, which acts on the whole mesh,`} needs an admin token without a list of namespaces`;
  if (namespaces === undefined) return undefined;
  if (namespace === undefined)
    return `${holding(principal)} is for the namespaces ${namespaces.join(", ")}: ask for one of them by /namespaces/NAME`;
  // Everybody lives under what the root namespace and the Mesh say, so everybody may read it.
  if (namespace === "" || namespace === ROOT_NAMESPACE) return undefined;
  return namespaces.includes(namespace)
    ? undefined
    : `${holding(principal)} is for the namespaces ${namespaces.join(", ")}, not for ${namespace}`;
}

/** Whether the principal may read what is of a namespace. */
export function readsOf(
  principal: Principal,
): (of: { readonly namespace: string }) => boolean {
  return ({ namespace }) => refusal(principal, "read", namespace) === undefined;
}

function holding({ certificate }: Principal): string {
  return certificate === undefined ? "this token" : "this client certificate";
}

/**
 * Why the principal may not export the hosts of an external Service so far: they act on the callers of each namespace that sees
 * them, so each needs the right to write there, and "*" the right to act on the whole mesh.
 */
export function exportRefusal(
  principal: Principal,
  resource: Resource,
): string | undefined {
  if (!isKind(SERVICE, resource) || !isExternal(resource.spec))
    return undefined;
  const { namespace = "" } = resource.metadata;
  for (const to of visibilityOf(resource)) {
    if (to === namespace) continue;
    const why =
      to === "*"
        ? refusal(principal, "write", ROOT_NAMESPACE)
        : refusal(principal, "write", to);
    if (why !== undefined)
      return `hosts of a MESH_EXTERNAL Service act on the calls of every namespace that it is exported to, and this one is exported to ${to === "*" ? "all" : to}: write exportTo: ["."] to keep it in namespace ${namespace}, or use an admin token without a list of namespaces`;
  }
  return undefined;
}

/**
 * Why the principal may not write the address of a Workload: whatever namespace it is in, it acts on the calls to that address of
 * everybody who sees its Services. What it leaves as it is in `before` is not its claim.
 */
export function addressRefusal(
  principal: Principal,
  resource: Resource,
  before: Resource | undefined,
): string | undefined {
  if (!isKind(WORKLOAD, resource) || isFullAdmin(principal)) return undefined;
  if (
    before !== undefined &&
    isKind(WORKLOAD, before) &&
    claimOf(resource) === claimOf(before)
  )
    return undefined;
  return "the address of a Workload draws the calls of all namespaces to it: a sidecar registers its own with an enrolment token; writing one needs an admin token without a list of namespaces";
}

function claimOf(workload: WorkloadResource): string {
  return JSON.stringify([accountOf(workload), placesOf(workload).sort()]);
}

/** Tokens, the store and other matters of the whole control plane. */
export function isFullAdmin(principal: Principal): boolean {
  return principal.role === "admin" && principal.namespaces === undefined;
}
