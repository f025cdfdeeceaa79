/** The conditions of resources, computed when they are read: they follow from what the store and the sidecars hold, so none is stored. */
import { timestamp } from "../core/clock.ts";
import { AUTHORIZATION_POLICY } from "../resources/authorization-policy/schema.ts";
import { isInForce } from "../resources/authorization-policy/trial.ts";
import type { Conflict } from "../resources/cross-checks/conflicts.ts";
import {
  formatKey,
  formatName,
  keyOf,
  type Condition,
  type Resource,
  type ResourceKey,
} from "../resources/envelope.ts";
import { checkForeignMetadata } from "../resources/foreign-metadata.ts";
import { isKind, type Problem } from "../resources/kind.ts";
import { reachChecker } from "../resources/cross-checks/reach.ts";
import { checkReferences } from "../resources/cross-checks/references.ts";
import { kindOf } from "../resources/registry.ts";
import type { ObservedCalls } from "./observed/observed-calls.ts";
import { leadingServices } from "./observed/leading-services.ts";
import { shadowStatuses } from "./observed/views.ts";
import type { MeshSource, MeshView } from "./push/catalogue/mesh-view.ts";
import type { InForce, PushStatus, Refusing } from "./push/status.ts";
import type { Lease } from "./registry/lease.ts";
import { WORKLOAD } from "../resources/workload/schema.ts";

/** Opens a reading of the mesh as it is; what it gives is the resource with its status. `mayRead`: of which sidecars a status may tell. */
export type OpenStatus = (
  mayRead: (sidecar: Pick<Refusing, "namespace">) => boolean,
) => Promise<StatusReader>;
export type StatusReader = (resource: Resource) => Promise<Resource>;

/** Named in a message; `GET /status` has them all. */
const MOST_REFUSALS = 5;

export interface StatusSources {
  readonly mesh: MeshSource;
  readonly push: Pick<PushStatus, "inForce" | "refusing">;
  /** Looks up the Workload "NAMESPACE/NAME", where a sidecar registered it. */
  readonly lease: (workload: string) => Pick<Lease, "unconfirmed"> | undefined;
  readonly observed: ObservedCalls;
}

/** What the conditions of one resource are computed from. */
interface View {
  readonly mesh: MeshView;
  readonly checkReach: ReturnType<typeof reachChecker>;
  readonly ownDoubts: Checked;
  readonly lease: StatusSources["lease"];
}

/** What a resource costs follows from what it has to do with. */
export function makeStatusReader(sources: StatusSources): OpenStatus {
  const { push, lease } = sources;
  const ownDoubts = makeChecked();
  return async (mayRead) => {
    const { mesh } = await sources.mesh.current();
    let refusing: readonly Refusing[] | undefined;
    const checkReach = reachChecker(mesh.reach());
    const view: View = { mesh, checkReach, ownDoubts, lease };
    let shadows: ReturnType<typeof shadowStatuses> | undefined;
    return (resource) => {
      // Nobody looks through all sidecars where none of them refuses anything.
      const { resourceVersion = "" } = resource.metadata;
      const key = keyOf(resource);
      const inForce = push.inForce(key, resourceVersion);
      if (inForce.refused > 0) refusing ??= push.refusing().filter(mayRead);
      const conditions = conditionsOf(
        resource,
        view,
        programmed(inForce, refusalsOf(key, refusing ?? [])),
      );
      if (!isKind(AUTHORIZATION_POLICY, resource) || isInForce(resource))
        return Promise.resolve({ ...resource, status: { conditions } });
      shadows ??= shadowStatuses(sources.observed, (policy) =>
        leadingServices(view.mesh, [policy]),
      );
      const shadow = shadows(resource);
      return Promise.resolve({ ...resource, status: { conditions, shadow } });
    };
  };
}

/** Why sidecars refused this resource, or what came with it. */
function refusalsOf(
  key: ResourceKey,
  refusing: readonly Refusing[],
): readonly string[] {
  const refusals: string[] = [];
  for (const sidecar of refusing) {
    if (!sidecar.has(key)) continue;
    const { namespace, name, reason } = sidecar;
    refusals.push(`${formatName(namespace, name)}: ${reason}`);
    if (refusals.length === MOST_REFUSALS) break;
  }
  return refusals;
}

/** `inForce`: how far the resource is. */
function conditionsOf(
  resource: Resource,
  view: View,
  inForce: Condition,
): readonly Condition[] {
  const { mesh } = view;
  const { generation } = resource.metadata;
  const problems = checkReferences(resource, (wanted) => mesh.find(wanted));
  const losses = mesh
    .conflictsAround(resource)
    .filter(({ loser }) => loser === resource);
  const conditions = [
    accepted(losses, doubtsOf(resource, view)),
    resolvedRefs(problems),
    inForce,
    conflicted(losses),
    ...confirmed(keyOf(resource), view.lease),
  ];
  return generation === undefined
    ? conditions
    : conditions.map((condition) => ({
        ...condition,
        observedGeneration: generation,
      }));
}

/** What is accepted and yet cannot act, or cannot act now. */
function doubtsOf(resource: Resource, view: View): readonly Problem[] {
  return [
    ...view.ownDoubts(resource),
    ...view.checkReach(resource),
    ...view.mesh.unreachableIn(resource),
  ];
}

/** What is odd about a resource by itself. */
type Checked = (resource: Resource) => readonly Problem[];

/** So many resources are remembered at most; beyond, all are checked anew. */
const MOST_CHECKED = 20_000;

/** To check a resource may compile its expressions: once a version of it, however often it is read. */
function makeChecked(): Checked {
  const known = new Map<
    string,
    { readonly version: string; readonly problems: readonly Problem[] }
  >();
  return (resource) => {
    const key = formatKey(keyOf(resource));
    const { resourceVersion: version = "" } = resource.metadata;
    const found = known.get(key);
    if (found?.version === version) return found.problems;
    const { apiVersion, kind } = resource;
    const problems = [
      ...checkForeignMetadata(resource),
      ...(kindOf(apiVersion, kind)?.check(resource) ?? []),
    ];
    if (known.size >= MOST_CHECKED) known.clear();
    known.set(key, { version, problems });
    return problems;
  };
}

function accepted(
  losses: readonly Conflict[],
  doubts: readonly Problem[],
): Condition {
  const message = [
    losses.length === 0
      ? "valid"
      : "valid, but another resource comes first: see Conflicted",
    ...doubts.map(({ path, message }) => `${path}: ${message}`),
  ].join("; ");
  return { type: "Accepted", status: "True", reason: "Accepted", message };
}

function resolvedRefs(problems: readonly Problem[]): Condition {
  return problems.length === 0
    ? {
        type: "ResolvedRefs",
        status: "True",
        reason: "ResolvedRefs",
        message: "everything that it refers to is there",
      }
    : {
        type: "ResolvedRefs",
        status: "False",
        reason: "RefNotFound",
        message: problems
          .map(({ path, message }) => `${path}: ${message}`)
          .join("; "),
      };
}

/** `of` counts the connected sidecars that need the resource. */
function programmed(
  { have, of, refused, withheld = 0 }: InForce,
  refusals: readonly string[],
): Condition {
  const count = `in force at ${have} of ${of} sidecars`;
  const condition = { type: "Programmed", message: count } as const;
  if (refused > 0)
    return {
      ...condition,
      status: "False",
      reason: "Refused",
      message: [`${count}, refused by ${refused}`, ...refusals].join("; "),
    };
  if (withheld > 0)
    return {
      ...condition,
      status: "False",
      reason: "Withheld",
      message: `${count}, withheld from ${withheld} whose version does not know all of it: see wherry status`,
    };
  if (of === 0)
    return {
      ...condition,
      status: "Unknown",
      reason: "NoSidecar",
      message: "no connected sidecar uses it",
    };
  return have === of
    ? { ...condition, status: "True", reason: "Programmed" }
    : { ...condition, status: "False", reason: "Pending" };
}

function conflicted(losses: readonly Conflict[]): Condition {
  return losses.length === 0
    ? {
        type: "Conflicted",
        status: "False",
        reason: "NoConflicts",
        message: "no other resource claims the same",
      }
    : {
        type: "Conflicted",
        status: "True",
        reason: losses[0]?.reason ?? "OlderResourceWins",
        message: losses.map(({ message }) => message).join("; "),
      };
}

/** Nothing of what is confirmed, or has no lease. */
function confirmed(
  { kind, namespace, name }: ResourceKey,
  lease: StatusSources["lease"],
): readonly Condition[] {
  if (kind !== WORKLOAD.kind) return [];
  const { unconfirmed } = lease(formatName(namespace, name)) ?? {};
  if (unconfirmed === undefined) return [];
  const { since, why, reached, unreached } = unconfirmed;
  return [
    {
      type: "Confirmed",
      status: "False",
      reason: "LeaseRanOut",
      message: `no sign of its sidecar since ${timestamp(since)}; it is kept: ${why}; callers that reach it: ${reached}, that do not: ${unreached}`,
    },
  ];
}
