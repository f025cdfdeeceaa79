/** The Workload that a sidecar registers: whose it is, and whether a name is free for an instance. */
import type { SpiffeUri } from "../../core/units.ts";
import type { Resource, ResourceKey } from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import {
  unknownFieldsOf,
  validate,
  type Validation,
} from "../../resources/validate.ts";
import {
  REGISTERED_BY,
  WORKLOAD,
  type WorkloadResource,
} from "../../resources/workload/schema.ts";
import type { Peer } from "../push/peer.ts";
import type { Store } from "../store/store.ts";
import { RegistrationError } from "./registration-error.ts";

/** SPIFFE id of its sidecar; undefined where a person applied it. */
export function holderOf(resource: Resource): string | undefined {
  return resource.metadata.annotations?.[REGISTERED_BY];
}

/**
 * Why an instance of `identity` may not have the name; undefined where nobody has it, or the identity itself. `leasedBy`: the holder of
 * the lease. `current`: what the store has under the name.
 */
export function nameConflict(
  workload: string,
  identity: SpiffeUri,
  leasedBy: string | undefined,
  current: Resource | undefined,
): string | undefined {
  const holder = current === undefined ? undefined : holderOf(current);
  if (current !== undefined && holder === undefined)
    return `Workload ${workload} was applied by a person: delete it, or enrol this instance under another name`;
  const other = [leasedBy, holder].find(
    (each) => each !== undefined && each !== identity,
  );
  return other === undefined
    ? undefined
    : `Workload ${workload} is registered by ${other}: give this instance another name`;
}

export function runningElsewhere(workload: string): string {
  return `Workload ${workload} is held by a running sidecar of the same identity: give each instance a name of its own`;
}

/** Faults of a spec that are explained: each costs as much as to judge all of it. */
const MOST_EXPLAINED = 20;

/** Name, namespace, service account and labels by the certificate; the rest as the sidecar says. Throws RegistrationError. */
export function workloadResource(peer: Peer, spec: unknown): WorkloadResource {
  const given = typeof spec === "object" && spec !== null ? spec : {};
  const said = {
    apiVersion: WORKLOAD.apiVersion,
    kind: WORKLOAD.kind,
    metadata: {
      name: peer.name,
      namespace: peer.namespace,
      ...(Object.keys(peer.labels).length === 0 ? {} : { labels: peer.labels }),
      annotations: { [REGISTERED_BY]: peer.identity },
    },
    spec: { ...given, serviceAccount: peer.serviceAccount },
  };
  const whole = validate(said, { explained: MOST_EXPLAINED });
  const validation = whole.ok ? whole : (validatedRest(said) ?? whole);
  if (!validation.ok)
    throw new RegistrationError(
      "invalid",
      validation.problems
        .map(({ path, message }) => `${path}: ${message}`)
        .join("; "),
    );
  if (!isKind(WORKLOAD, validation.resource))
    throw new RegistrationError("invalid", "not a Workload");
  return validation.resource;
}

/** A sidecar of a newer version may say more of itself than this one knows: it is registered with the rest. Undefined where that is not what is wrong. */
function validatedRest(said: unknown): Validation | undefined {
  const unknown = unknownFieldsOf(said);
  if (unknown === undefined) return undefined;
  const isMistaken = unknown.fields.some((field) =>
    Object.hasOwn(WORKLOAD.unsupported, field),
  );
  return isMistaken ? undefined : validate(unknown.rest);
}

/** Removes what the sidecar has registered. What a person has put in its place stays, and is returned. */
export async function removeRegistered(
  store: Store,
  {
    key,
    identity,
  }: { readonly key: ResourceKey; readonly identity: SpiffeUri },
): Promise<Resource | undefined> {
  const current = await store.get(key);
  if (current === undefined || holderOf(current) !== identity) return current;
  await store.remove(key, Number(current.metadata.resourceVersion));
  return undefined;
}
