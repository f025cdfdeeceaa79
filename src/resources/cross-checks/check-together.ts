/** Everything that resources say of each other where there is no control plane: references, reach, hosts, conflicts. */
import { filterSteps, pieces, type Steps } from "../../core/slices.ts";
import type { WallMs } from "../../core/units.ts";
import { checkAttributes, opaqueServices } from "./attributes.ts";
import { findConflicts } from "./conflicts.ts";
import type { Resource } from "../envelope.ts";
import { checkExpiry } from "../fault-injection/check.ts";
import { isKind, type Problem } from "../kind.ts";
import { MESH, meshSettings, trustDomainsOf } from "../mesh/schema.ts";
import { checkHosts } from "../ownership/host-owners.ts";
import { reachChecker, reachOf } from "./reach.ts";
import { checkReferences, type Lookup } from "./references.ts";
import { SERVICE } from "../service/schema.ts";
import { findUnreachable } from "./unreachable.ts";

/** What can be said of one of many. */
export interface Remark<T> {
  readonly about: T;
  readonly problem: Problem;
}

/** Checks resources against each other, no two of one key. May pause at each `yield`: there are thousands of them. */
export function* checkTogether<T extends { readonly resource: Resource }>(
  all: readonly T[],
  lookup: Lookup,
  wall: WallMs | undefined,
): Steps<Remark<T>[]> {
  const remarks: Remark<T>[] = [];
  const resources: Resource[] = [];
  const byResource = new Map<Resource, T>();
  for (const piece of pieces(all)) {
    yield;
    for (const each of piece) {
      resources.push(each.resource);
      byResource.set(each.resource, each);
    }
  }
  const checkEach = yield* checker(resources, lookup, wall);
  for (const about of all) {
    yield;
    for (const problem of checkEach(about.resource))
      remarks.push({ about, problem });
  }
  const warn = (resource: Resource, path: string, message: string): void => {
    const about = byResource.get(resource);
    if (about !== undefined)
      remarks.push({ about, problem: { path, message, severity: "warning" } });
  };
  for (const conflict of yield* findConflicts(resources)) {
    yield;
    const { loser, winner, path, message } = conflict;
    // What the Mesh does not let be is an error already.
    if (!isKind(MESH, winner)) warn(loser, path, message);
  }
  for (const { route, path, message } of yield* findUnreachable(resources)) {
    yield;
    warn(route, path, message);
  }
  return remarks;
}

/** What the others say of one of them. */
function* checker(
  resources: readonly Resource[],
  lookup: Lookup,
  wall: WallMs | undefined,
): Steps<(resource: Resource) => Problem[]> {
  const services = yield* filterSteps(resources, (each) =>
    isKind(SERVICE, each),
  );
  const opaque = yield* opaqueServices(services);
  const populated = new Set<string>();
  for (const piece of pieces(services)) {
    yield;
    for (const { metadata } of piece) populated.add(metadata.namespace ?? "");
  }
  const [mesh] = yield* filterSteps(resources, (each) => isKind(MESH, each));
  const settings = meshSettings(mesh?.spec);
  const checkReach = reachChecker(
    yield* reachOf(
      resources,
      mesh === undefined ? undefined : trustDomainsOf(settings),
      false,
    ),
  );
  return (resource) => [
    ...checkReach(resource),
    ...(isKind(SERVICE, resource)
      ? checkHosts(resource, (namespace) => populated.has(namespace), settings)
      : []),
    ...checkReferences(resource, lookup),
    ...checkAttributes(resource, opaque),
    ...(wall === undefined ? [] : checkExpiry(resource, wall)),
  ];
}
