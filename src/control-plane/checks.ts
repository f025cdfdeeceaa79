/** Checks of a resource against what the mesh holds, at admission and whenever its conditions are asked for. */
import type { WallMs } from "../core/units.ts";
import {
  addressConflicts,
  hostConflicts,
} from "../resources/cross-checks/conflicts.ts";
import {
  formatKey,
  keyOf,
  type Resource,
  type ResourceKey,
} from "../resources/envelope.ts";
import { checkExpiry } from "../resources/fault-injection/check.ts";
import { isKind, type Problem } from "../resources/kind.ts";
import { MESH, meshSettings } from "../resources/mesh/schema.ts";
import { AUTHORIZATION_POLICY } from "../resources/authorization-policy/schema.ts";
import { checkHosts } from "../resources/ownership/host-owners.ts";
import { HTTP_ROUTE } from "../resources/http-route/schema.ts";
import { PEER_AUTHENTICATION } from "../resources/peer-authentication/schema.ts";
import { checkReach, reachOf } from "../resources/cross-checks/reach.ts";
import { checkReferences } from "../resources/cross-checks/references.ts";
import { isExternal, SERVICE } from "../resources/service/schema.ts";
import { unreachableMatches } from "../resources/cross-checks/unreachable.ts";
import { WORKLOAD } from "../resources/workload/schema.ts";
import type { Store } from "./store/store.ts";

/** References that no resource satisfies, faults without an end in sight, and a trust domain that this control plane's authority cannot serve. */
export async function checkAgainstStore(
  resource: Resource,
  store: Store,
  trustDomain: string,
  wall: WallMs,
): Promise<readonly Problem[]> {
  return [
    ...checkTrustDomain(resource, trustDomain),
    ...checkExpiry(resource, wall),
    ...(await checkStoredReferences(resource, store)),
    ...(await checkStoredHosts(resource, store, trustDomain)),
    ...(await checkStoredAddress(resource, store)),
    ...(await checkStoredReach(resource, store, trustDomain)),
    ...(await checkStoredRoutes(resource, store)),
  ];
}

/** An ADDRESS:PORT belongs to one identity, whichever of the two Workloads is older: what a sidecar has registered goes on too. */
async function checkStoredAddress(
  resource: Resource,
  store: Store,
): Promise<readonly Problem[]> {
  if (!isKind(WORKLOAD, resource)) return [];
  const { resources } = await store.list(WORKLOAD.kind);
  const key = formatKey(keyOf(resource));
  const others = resources.filter((each) => formatKey(keyOf(each)) !== key);
  // Without an age it is the youngest, and so the one that loses.
  const { creationTimestamp: _stated, ...metadata } = resource.metadata;
  const written = { ...resource, metadata };
  return addressConflicts([...others, written])
    .filter(({ loser, winner }) => loser === written || winner === written)
    .map(({ path, message }) => ({ path, message }));
}

/** The check asks for resources as it goes; the store answers later. So it runs again until it asks for nothing new. */
async function checkStoredReferences(
  resource: Resource,
  store: Store,
): Promise<readonly Problem[]> {
  const known = new Map<string, Resource | undefined>();
  for (;;) {
    const wanted = new Map<string, ResourceKey>();
    const problems = checkReferences(resource, (key) => {
      const text = formatKey(key);
      if (!known.has(text)) wanted.set(text, key);
      return known.get(text);
    });
    if (wanted.size === 0) return problems;
    for (const [text, key] of wanted) known.set(text, await store.get(key));
  }
}

/** Hosts that shadow the mesh's own names are refused; those that another Service has already are warned of. */
async function checkStoredHosts(
  resource: Resource,
  store: Store,
  trustDomain: string,
): Promise<readonly Problem[]> {
  if (!isKind(SERVICE, resource) || !isExternal(resource.spec)) return [];
  const { others, written } = asWritten(
    resource,
    (await store.list(SERVICE.kind)).resources,
  );
  // Only a fixed address can be that of a workload.
  const workloads =
    resource.spec.resolution === "STATIC"
      ? (await store.list(WORKLOAD.kind)).resources
      : [];
  return [
    ...checkHosts(
      resource,
      others.filter((each) => isKind(SERVICE, each)),
      trustDomain,
    ),
    ...hostConflicts([...others, written, ...workloads], trustDomain)
      .filter(({ loser }) => loser === written)
      .map(({ path, message }): Problem => ({
        path,
        message,
        severity: "warning",
      })),
  ];
}

/** The resource beside those of its kind that stay. Its age is the store's word (trap 18): without one it is the youngest. */
function asWritten<T extends Resource>(
  resource: T,
  stored: readonly Resource[],
): { readonly others: readonly Resource[]; readonly written: T } {
  const key = formatKey(keyOf(resource));
  const before = stored.find((each) => formatKey(keyOf(each)) === key);
  const { creationTimestamp: _stated, ...metadata } = resource.metadata;
  const { creationTimestamp } = before?.metadata ?? {};
  return {
    others: stored.filter((each) => each !== before),
    written: {
      ...resource,
      metadata: {
        ...metadata,
        ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      },
    },
  };
}

/** Security policies that match nothing. */
async function checkStoredReach(
  resource: Resource,
  store: Store,
  trustDomain: string,
): Promise<readonly Problem[]> {
  if (
    !isKind(AUTHORIZATION_POLICY, resource) &&
    !isKind(PEER_AUTHENTICATION, resource)
  )
    return [];
  const [services, workloads] = await Promise.all([
    store.list(SERVICE.kind),
    store.list(WORKLOAD.kind),
  ]);
  return checkReach(
    resource,
    reachOf([...services.resources, ...workloads.resources], trustDomain, true),
  );
}

/** Matches that no request reaches: of this route, and of others by this one. */
async function checkStoredRoutes(
  resource: Resource,
  store: Store,
): Promise<readonly Problem[]> {
  if (!isKind(HTTP_ROUTE, resource)) return [];
  const { others, written } = asWritten(
    resource,
    (await store.list(HTTP_ROUTE.kind, resource.metadata.namespace)).resources,
  );
  return unreachableMatches([...others, written]).flatMap(
    ({ route, path, message, taker }): Problem[] =>
      route === written
        ? [{ path, message, severity: "warning" }]
        : taker.route === written
          ? [
              {
                path: `spec.rules[${taker.rule}]`,
                message,
                severity: "warning",
              },
            ]
          : [],
  );
}

/** Every identity carries the trust domain, and the authority issues for one only. */
function checkTrustDomain(
  resource: Resource,
  trustDomain: string,
): readonly Problem[] {
  if (!isKind(MESH, resource)) return [];
  const stated = meshSettings(resource.spec).trustDomain;
  return stated === trustDomain
    ? []
    : [
        {
          path: "spec.trustDomain",
          message: `is ${JSON.stringify(stated)}, but the certificate authority of this control plane issues for ${JSON.stringify(trustDomain)}: start it with the other trust domain first`,
        },
      ];
}
