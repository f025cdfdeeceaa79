/** Everything that resources say of each other where there is no control plane: references, reach, hosts, conflicts. */
import type { Steps } from "../../core/slices.ts";
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
  const resources = all.map(({ resource }) => resource);
  yield;
  const services = resources.filter((each) => isKind(SERVICE, each));
  yield;
  const opaque = opaqueServices(services);
  yield;
  const populated = new Set(
    services.map(({ metadata }) => metadata.namespace ?? ""),
  );
  const mesh = resources.find((resource) => isKind(MESH, resource));
  const { trustDomain } = meshSettings(mesh?.spec);
  yield;
  const checkReach = reachChecker(
    reachOf(resources, mesh === undefined ? undefined : trustDomain, false),
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
  const byResource = new Map(all.map((each) => [each.resource, each]));
  for (const { about, path, message } of [
    ...losses.map((each) => ({ ...each, about: each.loser })),
    ...unreachable.map((each) => ({ ...each, about: each.route })),
  ]) {
    const found = byResource.get(about);
    if (found !== undefined)
      remarks.push({
        about: found,
        problem: { path, message, severity: "warning" },
      });
  }
  return remarks;
}
