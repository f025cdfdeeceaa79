/** Everything that resources say of each other where there is no control plane: references, reach, hosts, conflicts. */
import { filterSteps, pieces, type Steps } from "../../core/slices.ts";
import type { WallMs } from "../../core/units.ts";
import { checkAttributes, opaqueServices } from "./attributes.ts";
import { findConflicts } from "./conflicts.ts";
import type { Resource } from "../envelope.ts";
import { checkExpiry } from "../fault-injection/check.ts";
import { isKind, type Problem } from "../kind.ts";
import { MESH, meshSettings } from "../mesh/schema.ts";
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
  for (const piece of pieces(all)) {
    yield;
    for (const { resource } of piece) resources.push(resource);
  }
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
  const { trustDomain } = meshSettings(mesh?.spec);
  const checkReach = reachChecker(
    yield* reachOf(
      resources,
      mesh === undefined ? undefined : trustDomain,
      false,
    ),
  );
  for (const about of all) {
    yield;
    const { resource } = about;
    for (const problem of [
      ...checkReach(resource),
      ...(isKind(SERVICE, resource)
        ? checkHosts(
            resource,
            (namespace) => populated.has(namespace),
            trustDomain,
          )
        : []),
      ...checkReferences(resource, lookup),
      ...checkAttributes(resource, opaque),
      ...(wall === undefined ? [] : checkExpiry(resource, wall)),
    ])
      remarks.push({ about, problem });
  }
  const losses = yield* findConflicts(resources);
  const unreachable = yield* findUnreachable(resources);
  if (losses.length === 0 && unreachable.length === 0) return remarks;
  const byResource = new Map<Resource, T>();
  for (const piece of pieces(all)) {
    yield;
    for (const each of piece) byResource.set(each.resource, each);
  }
  const warn = (resource: Resource, path: string, message: string): void => {
    const about = byResource.get(resource);
    if (about !== undefined)
      remarks.push({ about, problem: { path, message, severity: "warning" } });
  };
  for (const { loser, path, message } of losses) {
    yield;
    warn(loser, path, message);
  }
  for (const { route, path, message } of unreachable) {
    yield;
    warn(route, path, message);
  }
  return remarks;
}
