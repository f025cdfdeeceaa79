/** Checks of resources against what the mesh holds, and against each other, when they are written: a list as one. */
import type { Clock } from "../core/clock.ts";
import { inSlices, pauses } from "../core/slices.ts";
import { addressConflicts } from "../resources/cross-checks/conflicts.ts";
import {
  formatKey,
  keyOf,
  type Resource,
  type ResourceKey,
} from "../resources/envelope.ts";
import { checkExpiry } from "../resources/fault-injection/check.ts";
import { isKind, type Problem } from "../resources/kind.ts";
import {
  MESH,
  meshSettings,
  trustDomainsOf,
} from "../resources/mesh/schema.ts";
import { AUTHORIZATION_POLICY } from "../resources/authorization-policy/schema.ts";
import { placesOf } from "../resources/ownership/address-owners.ts";
import { HTTP_ROUTE } from "../resources/http-route/schema.ts";
import { PEER_AUTHENTICATION } from "../resources/peer-authentication/schema.ts";
import { REQUEST_AUTHENTICATION } from "../resources/request-authentication/schema.ts";
import {
  reachChecker,
  reachOf,
  type Reach,
} from "../resources/cross-checks/reach.ts";
import { REVOCATION } from "../resources/revocation/schema.ts";
import { error as problem } from "../resources/problems.ts";
import { MOST_REVOCATIONS } from "./enrolment/revocations.ts";
import { checkReferences } from "../resources/cross-checks/references.ts";
import { SERVICE } from "../resources/service/schema.ts";
import {
  findUnreachable,
  type Unreachable,
} from "../resources/cross-checks/unreachable.ts";
import { TELEMETRY } from "../resources/telemetry/schema.ts";
import { WORKLOAD } from "../resources/workload/schema.ts";
import type { ObservedCalls } from "./observed/observed-calls.ts";
import { checkExternalHosts, type HostTask } from "./host-checks.ts";
import { impactOfWrites } from "./policy-impact.ts";
import {
  aged,
  indexOf,
  meshOnceWritten,
  Prospect,
  resourcesOf,
  type Written,
} from "./prospect.ts";
import type { MeshSource } from "./push/catalogue/mesh-view.ts";
import type { Store } from "./store/store.ts";

export interface CheckContext {
  readonly store: Pick<Store, "get" | "list">;
  /** What the store holds, for questions that concern little of it. */
  readonly mesh: MeshSource;
  readonly trustDomain: string;
  /** Absent: nothing is said of the calls that a policy would hit. */
  readonly observed?: ObservedCalls;
  readonly clock: Pick<Clock, "now" | "wall">;
}

/** The problems of each resource, in the order of the resources. */
export type Found = readonly (readonly Problem[])[];

interface Task extends HostTask {
  readonly mesh: MeshSource;
  readonly resources: readonly Resource[];
}

/**
 * References that no resource satisfies, hosts and addresses that another has, faults without an end in sight, and a trust domain that
 * this control plane's authority cannot serve. Each resource is judged as if all of the list were written, whatever its order.
 */
export async function checkAgainstStore(
  resources: readonly Resource[],
  { store, mesh, trustDomain, observed, clock }: CheckContext,
): Promise<Found> {
  const wall = clock.wall();
  const found: Problem[][] = resources.map((resource) => [
    ...checkTrustDomain(resource, trustDomain),
    ...checkExpiry(resource, wall),
  ]);
  const task: Task = {
    prospect: new Prospect(store, resources),
    mesh,
    resources,
    trustDomain,
    pause: pauses(clock),
    report: (index, ...problems) => found[index]?.push(...problems),
  };
  await checkEachReference(task);
  await checkExternalHosts(task);
  await checkAddresses(task);
  await checkPolicies(task);
  await checkRoutes(task);
  await checkRevocations(task);
  if (observed !== undefined) await checkImpact(task, observed);
  return found;
}

/** Each sidecar keeps all of them. */
async function checkRevocations({
  mesh,
  resources,
  report,
}: Task): Promise<void> {
  if (!resources.some((resource) => isKind(REVOCATION, resource))) return;
  const { mesh: view } = await mesh.current();
  let count = view.list(REVOCATION.kind).length;
  for (const [index, resource] of resources.entries()) {
    if (!isKind(REVOCATION, resource)) continue;
    if (view.find(keyOf(resource)) !== undefined) continue;
    count += 1;
    if (count > MOST_REVOCATIONS)
      report(
        index,
        problem(
          [],
          `more than ${MOST_REVOCATIONS} Revocations: delete some, or revoke an identity in place of its instances`,
        ),
      );
  }
}

/** The check asks for resources as it goes, and the store has them later. So it runs again until it asks for nothing new. */
async function checkEachReference({
  prospect,
  resources,
  pause,
  report,
}: Task): Promise<void> {
  const known = new Map<string, Resource | undefined>();
  for (const [index, resource] of resources.entries()) {
    const wanted = new Map<string, ResourceKey>();
    for (;;) {
      wanted.clear();
      const problems = checkReferences(resource, (key) => {
        const text = formatKey(key);
        if (!known.has(text)) wanted.set(text, key);
        return known.get(text);
      });
      if (wanted.size === 0) {
        report(index, ...problems);
        break;
      }
      for (const [text, key] of wanted)
        known.set(text, await prospect.get(key));
    }
    await pause();
  }
}

/** An ADDRESS:PORT belongs to one identity, whichever of the two Workloads is older: what a sidecar has registered goes on too. */
async function checkAddresses(task: Task): Promise<void> {
  const [workload, ...more] = task.prospect.ofKind(WORKLOAD);
  if (workload === undefined) return;
  if (more.length === 0) await checkAddress(workload, task);
  else await checkManyAddresses(task);
}

/** Finds the rivals of a single one without a look at the other Workloads. */
async function checkAddress(
  { index, resource }: Written<unknown>,
  { mesh, report }: Task,
): Promise<void> {
  const view = (await mesh.current()).mesh;
  for (const { loser, winner, path, message } of view.conflictsAround(
    ageless(resource),
  ))
    if (isKind(WORKLOAD, loser) && isKind(WORKLOAD, winner))
      report(index, { path, message });
}

async function checkManyAddresses({
  prospect,
  pause,
  report,
}: Task): Promise<void> {
  const { others, written } = await prospect.kin(WORKLOAD);
  const young = written.map(({ index, resource }) => ({
    index,
    resource: ageless(resource),
  }));
  const claimed = new Set<string>();
  for (const { resource } of young) {
    for (const place of placesOf(resource)) claimed.add(place);
    await pause();
  }
  const rivals: Resource[] = [];
  for (const other of others) {
    if (placesOf(other).some((place) => claimed.has(place))) rivals.push(other);
    await pause();
  }
  const index = indexOf(young);
  const losses = await inSlices(
    addressConflicts([...rivals, ...young.map(({ resource }) => resource)]),
    pause,
  );
  for (const { loser, winner, path, message } of losses) {
    const at = index.get(loser) ?? index.get(winner);
    if (at !== undefined) report(at, { path, message });
  }
}

/** Without an age it is the youngest, and so the one that loses. */
function ageless<S>(resource: Resource<S>): Resource<S> {
  const { creationTimestamp: _age, ...metadata } = resource.metadata;
  return { ...resource, metadata };
}

/** What security policies close, open and would hit. */
async function checkImpact(
  { mesh, resources, pause, report }: Task,
  observed: ObservedCalls,
): Promise<void> {
  const view = (await mesh.current()).mesh;
  const found = await impactOfWrites(resources, view, observed, pause);
  for (const [index, problems] of found.entries()) report(index, ...problems);
}

/** Policies by selector that match nothing. */
async function checkPolicies(task: Task): Promise<void> {
  const { prospect, pause, report } = task;
  const policies: Written<unknown>[] = [
    ...prospect.ofKind(AUTHORIZATION_POLICY),
    ...prospect.ofKind(PEER_AUTHENTICATION),
    ...prospect.ofKind(REQUEST_AUTHENTICATION),
    ...prospect.ofKind(TELEMETRY),
  ];
  if (policies.length === 0) return;
  const checkReach = reachChecker({
    ...(await reachFor(task)),
    trustDomains: await domainsOnceWritten(task),
  });
  for (const { index, resource } of policies) {
    report(index, ...checkReach(resource));
    await pause();
  }
}

/** The authority's, and the aliases once the list is written. */
async function domainsOnceWritten({
  prospect,
  trustDomain,
}: Task): Promise<readonly string[]> {
  const { trustDomainAliases } = await meshOnceWritten(prospect);
  return trustDomainsOf({ trustDomain, trustDomainAliases });
}

/** What policies can act on once the list is written. */
async function reachFor({
  prospect,
  mesh,
  trustDomain,
  pause,
}: Task): Promise<Reach> {
  const changes =
    prospect.ofKind(SERVICE).length + prospect.ofKind(WORKLOAD).length;
  if (changes === 0) return (await mesh.current()).mesh.reach();
  const all = [
    ...resourcesOf(await prospect.kin(SERVICE)),
    ...resourcesOf(await prospect.kin(WORKLOAD)),
  ];
  return inSlices(reachOf(all, [trustDomain], true), pause);
}

/** Matches that no request reaches: of these routes, and of others by these. */
async function checkRoutes(task: Task): Promise<void> {
  const [route, ...more] = task.prospect.ofKind(HTTP_ROUTE);
  if (route === undefined) return;
  if (more.length === 0) await checkRoute(route, task);
  else await checkManyRoutes(task);
}

/** Finds the routes around a single one without a look at the others. */
async function checkRoute(
  { index, resource }: Written<unknown>,
  { mesh, report }: Task,
): Promise<void> {
  const view = (await mesh.current()).mesh;
  const stored = view.find(keyOf(resource));
  const route = aged(resource, stored?.metadata.creationTimestamp);
  for (const found of view.unreachableAround(route))
    report(index, unreachableProblem(found, found.route === route));
}

async function checkManyRoutes({
  prospect,
  pause,
  report,
}: Task): Promise<void> {
  const namespaces = new Set(
    prospect
      .ofKind(HTTP_ROUTE)
      .map(({ resource }) => resource.metadata.namespace ?? ""),
  );
  for (const namespace of namespaces) {
    const routes = await prospect.kin(HTTP_ROUTE, namespace);
    const index = indexOf(routes.written);
    const found = await inSlices(findUnreachable(resourcesOf(routes)), pause);
    for (const each of found) {
      const own = index.get(each.route);
      const at = own ?? index.get(each.taker.route);
      if (at !== undefined)
        report(at, unreachableProblem(each, own !== undefined));
    }
    await pause();
  }
}

/** `own`: it is the route's own match, not another's that it takes all requests from. */
function unreachableProblem(
  { path, message, taker }: Unreachable,
  own: boolean,
): Problem {
  const at = own ? path : `spec.rules[${taker.rule}]`;
  return { path: at, message, severity: "warning" };
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
