/** What a principal may not write although it may write in the namespace: what others hold, or what acts on others. */
import {
  formatKey,
  keyOf,
  type Resource,
  type ResourceKey,
} from "../../../resources/envelope.ts";
import { REGISTERED_BY, WORKLOAD } from "../../../resources/workload/schema.ts";
import type { Principal } from "../../tokens.ts";
import { addressRefusal, exportRefusal, isFullAdmin } from "./access.ts";
import type { ApiOptions } from "../options.ts";

type Leases = Pick<ApiOptions, "isLeased">;

/** Why the principal may not write the resource in place of `before`; undefined where it may. */
export function writeRefusal(
  leases: Leases,
  principal: Principal,
  resource: Resource,
  before: Resource | undefined,
): string | undefined {
  return (
    registrationRefusal(principal, resource) ??
    leaseRefusal(leases, principal, keyOf(resource)) ??
    exportRefusal(principal, resource) ??
    addressRefusal(principal, resource, before)
  );
}

/** What a sidecar registered is the sidecar's: by its labels and account it stands for an identity (trap 16). */
export function leaseRefusal(
  { isLeased }: Leases,
  principal: Principal,
  key: ResourceKey,
): string | undefined {
  return key.kind === WORKLOAD.kind &&
    !isFullAdmin(principal) &&
    isLeased(key.namespace, key.name)
    ? `${formatKey(key)} is registered by its sidecar under a lease: it changes and goes with that sidecar`
    : undefined;
}

/** Without it nothing works: it is changed, and never goes. */
export function meshRefusal({ name }: ResourceKey): string {
  return `Mesh ${name} holds the settings of the whole mesh: change it instead`;
}

function registrationRefusal(
  principal: Principal,
  { kind, metadata }: Resource,
): string | undefined {
  return kind === WORKLOAD.kind &&
    !isFullAdmin(principal) &&
    metadata.annotations?.[REGISTERED_BY] !== undefined
    ? `the annotation ${REGISTERED_BY} says that a sidecar registered the Workload: leave it out`
    : undefined;
}
