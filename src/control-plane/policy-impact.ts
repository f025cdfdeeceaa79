/** What a written or removed security policy, or a removed Service of one, does to the workloads and calls of the mesh, as warnings. */
import { inSlices, type Pause, type Steps } from "../core/slices.ts";
import { AUTHORIZATION_POLICY } from "../resources/authorization-policy/schema.ts";
import type { AuthorizationPolicyResource } from "../resources/authorization-policy/spec.ts";
import { namespaceOf } from "../resources/cross-checks/relations.ts";
import {
  formatKey,
  formatName,
  keyOf,
  ROOT_NAMESPACE,
  type Resource,
  type ResourceKey,
} from "../resources/envelope.ts";
import { isKind, type Problem } from "../resources/kind.ts";
import { PEER_AUTHENTICATION } from "../resources/peer-authentication/schema.ts";
import type { PolicyTargets } from "../resources/policy-targets.ts";
import { SERVICE, type ServiceResource } from "../resources/service/schema.ts";
import {
  authenticationImpact,
  authorizationImpact,
  changed,
  type PolicyChange,
} from "./observed/impact.ts";
import { leadingServices } from "./observed/leading-services.ts";
import type { ObservedCalls } from "./observed/observed-calls.ts";
import {
  lossText,
  lostTargets,
  withoutTargets,
} from "./observed/removed-targets.ts";
import type { ObservingWorkload } from "./observed/reported-calls.ts";
import {
  kinIn,
  settingsIn,
  storedIn,
  type MeshView,
} from "./push/catalogue/mesh-view.ts";

/** Warnings of each of the written resources, in their order. */
export async function impactOfWrites(
  resources: readonly Resource[],
  mesh: MeshView,
  observed: ObservedCalls,
  pause: Pause,
): Promise<readonly (readonly Problem[])[]> {
  const found = new Map(resources.map((each) => [each, [] as Problem[]]));
  const put = (
    resource: Resource,
    path: string,
    lines: readonly string[] = [],
  ): void => {
    for (const message of lines)
      found.get(resource)?.push(warningAt(path, message));
  };
  const policies = resources.filter((each) =>
    isKind(AUTHORIZATION_POLICY, each),
  );
  if (policies.length > 0) {
    const changes = policies.map((after) => ({
      before: storedIn(mesh, AUTHORIZATION_POLICY, keyOf(after)),
      after,
    }));
    const services = resources.filter((each) => isKind(SERVICE, each));
    const lines = await linesOf(changes, mesh, observed, pause, services);
    for (const [at, policy] of policies.entries())
      put(policy, "spec", lines[at]);
  }
  const peers = resources.filter((each) => isKind(PEER_AUTHENTICATION, each));
  if (peers.length > 0) {
    const before = kinIn(mesh, PEER_AUTHENTICATION);
    const keys = new Set(peers.map((each) => formatKey(keyOf(each))));
    // What exists keeps its age, which decides (trap 13).
    const aged = peers.map((each) => {
      const age = storedIn(mesh, PEER_AUTHENTICATION, keyOf(each))?.metadata;
      const { creationTimestamp } = age ?? {};
      return creationTimestamp === undefined
        ? each
        : { ...each, metadata: { ...each.metadata, creationTimestamp } };
    });
    const after = [
      ...before.filter((each) => !keys.has(formatKey(keyOf(each)))),
      ...aged,
    ];
    const lines = await authenticationImpact(
      aged,
      { before, after },
      {
        settings: settingsIn(mesh),
        seen: seenWhere(aged, observed),
        pause,
      },
    );
    for (const [at, policy] of peers.entries()) put(policy, "spec", lines[at]);
  }
  return [...found.values()];
}

/** Warnings of each of the removed resources, in their order. */
export async function impactOfRemovals(
  keys: readonly ResourceKey[],
  mesh: MeshView,
  observed: ObservedCalls,
  pause: Pause,
): Promise<readonly (readonly string[])[]> {
  const found = keys.map((): string[] => []);
  const changes: RemovalChange[] = keys.map((key, at) => ({
    at,
    before: storedIn(mesh, AUTHORIZATION_POLICY, key),
    after: undefined,
    said: (line) => line,
  }));
  const seen = new Set<Resource>();
  for (const lost of await inSlices(lostTargets(keys, mesh), pause)) {
    const { at, policy } = lost;
    const loss = lossText(lost);
    found[at]?.push(`${loss}, which acts on nothing by it from then on`);
    if (!isKind(AUTHORIZATION_POLICY, policy) || seen.has(policy)) continue;
    seen.add(policy);
    changes.push({
      at,
      before: policy,
      after: withoutTargets(policy, keys),
      said: (line) =>
        line.startsWith("up ") ? line : `${loss}, which ${line}`,
    });
  }
  if (changes.every(({ before }) => before === undefined)) return found;
  const lines = await linesOf(changes, mesh, observed, pause);
  for (const [index, { at, said }] of changes.entries())
    found[at]?.push(...(lines[index] ?? []).map(said));
  return found;
}

interface RemovalChange extends PolicyChange {
  /** Index in the list of what is removed. */
  readonly at: number;
  /** How its lines are said of what is removed. */
  readonly said: (line: string) => string;
}

async function linesOf(
  changes: readonly PolicyChange[],
  mesh: MeshView,
  observed: ObservedCalls,
  pause: Pause,
  services: readonly ServiceResource[] = [],
): Promise<readonly (readonly string[])[]> {
  const before: readonly AuthorizationPolicyResource[] = kinIn(
    mesh,
    AUTHORIZATION_POLICY,
  );
  const after = changed(before, changes);
  const meant = changes.flatMap((change) => [
    ...(change.before === undefined ? [] : [change.before]),
    ...(change.after === undefined ? [] : [change.after]),
  ]);
  const seen = seenWhere(meant, observed);
  const workloads = await inSlices(workloadsFor(meant, mesh), pause);
  // What the certificate binds counts (trap 16).
  for (const { workload } of seen)
    workloads.set(formatName(workload.namespace, workload.name), workload);
  return authorizationImpact(
    changes,
    { before, after },
    {
      settings: settingsIn(mesh),
      workloads: [...workloads.values()],
      leading: leadingServices(mesh, [...before, ...after], services),
      ...{ seen, pause },
    },
  );
}

/** The calls of every workload that one of the policies may be for. */
function seenWhere(
  policies: readonly Resource<PolicyTargets>[],
  observed: ObservedCalls,
): ReturnType<ObservedCalls["at"]> {
  const homes = new Set(policies.map(namespaceOf));
  return observed.at(
    ({ namespace }) => homes.has(namespace) || homes.has(ROOT_NAMESPACE),
  );
}

/** By "NAMESPACE/NAME": every Workload that one of the policies may be for. A selector costs what it selects, not the mesh. */
function* workloadsFor(
  policies: readonly Resource<PolicyTargets>[],
  mesh: MeshView,
): Steps<Map<string, ObservingWorkload>> {
  const found = new Map<string, ObservingWorkload>();
  const reach = mesh.reach();
  // Most policies have the same selector before and after.
  const looked = new Set<string>();
  for (const policy of policies) {
    const home = namespaceOf(policy);
    const wanted = policy.spec.selector?.matchLabels;
    const look = JSON.stringify([home, wanted]);
    if (looked.has(look)) continue;
    looked.add(look);
    for (const there of home === ROOT_NAMESPACE ? reach.namespaces() : [home])
      for (const { metadata } of reach.inhabitants(there)?.workloads(wanted) ??
        []) {
        yield;
        const { namespace = "", name, labels = {} } = metadata;
        found.set(formatName(namespace, name), { namespace, name, labels });
      }
  }
  return found;
}

function warningAt(path: string, message: string): Problem {
  return { path, message, severity: "warning" };
}
