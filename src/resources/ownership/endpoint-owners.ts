/** Endpoints of external Services that captured calls do not reach by them, because somebody else has the address: as sidecars decide. */
import { filterSteps, type Steps } from "../../core/slices.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import { comparableAddress } from "../../core/text/network.ts";
import { formatName, selects, type Resource } from "../envelope.ts";
import { claimsAt, overlap, type FirstClaims } from "./first-claims.ts";
import { isKind } from "../kind.ts";
import {
  isExternal,
  visibilityOf,
  type ServiceResource,
} from "../service/schema.ts";
import { WORKLOAD, type WorkloadResource } from "../workload/schema.ts";

export interface EndpointLoss {
  readonly loser: ServiceResource;
  readonly winner: Resource;
  /** Index in `spec.endpoints`. */
  readonly index: number;
  readonly message: string;
}

/** `services` has the oldest first. Addresses of the mesh's own workloads come first, then the oldest external Service. */
export function* endpointLosses(
  services: readonly ServiceResource[],
  resources: readonly Resource[],
): Steps<EndpointLoss[]> {
  const fixed = yield* filterSteps(
    services,
    ({ spec }) => isExternal(spec) && spec.resolution === "STATIC",
  );
  const losses: EndpointLoss[] = [];
  if (fixed.length === 0) return losses;
  const own = yield* workloadsByPlace(resources);
  const internal = Map.groupBy(
    yield* filterSteps(services, ({ spec }) => !isExternal(spec)),
    namespaceOf,
  );
  const claims = new Map<string, FirstClaims>();
  for (const [age, loser] of fixed.entries()) {
    const claim = { age, service: loser, visibleTo: visibilityOf(loser) };
    const { endpoints = [], ports } = loser.spec;
    for (const [index, { address }] of endpoints.entries()) {
      yield;
      for (const { port } of ports) {
        const place = placeOf(address, port);
        const there = claimsAt(claims, place);
        there.add(claim);
        const workload = own
          .get(place)
          ?.find((each) =>
            (internal.get(namespaceOf(each)) ?? []).some(
              (leading) =>
                selects(leading.spec.selector ?? {}, each.metadata.labels) &&
                overlap(visibilityOf(leading), claim.visibleTo),
            ),
          );
        const older = there.before(claim, (other) => other.service === loser);
        const winner = workload ?? older?.winner.service;
        if (winner === undefined) continue;
        const message = `${formatHostPort(address, port)} belongs to ${winner.kind} ${nameOf(winner)}: captured calls to it stay there${
          workload === undefined && namespaceOf(winner) === namespaceOf(loser)
            ? ", but for requests that name this Service"
            : ""
        }`;
        losses.push({ loser, winner, index, message });
      }
    }
  }
  return losses;
}

function* workloadsByPlace(
  resources: readonly Resource[],
): Steps<ReadonlyMap<string, readonly WorkloadResource[]>> {
  const places = new Map<string, WorkloadResource[]>();
  for (const resource of resources) {
    yield;
    if (!isKind(WORKLOAD, resource)) continue;
    const { address, ports = {} } = resource.spec;
    for (const port of Object.values(ports)) {
      const place = placeOf(address, port);
      const list = places.get(place);
      if (list === undefined) places.set(place, [resource]);
      else list.push(resource);
    }
  }
  return places;
}

function placeOf(address: string, port: number): string {
  return `${comparableAddress(address)} ${port}`;
}

function nameOf({ metadata }: Resource): string {
  return formatName(metadata.namespace ?? "", metadata.name);
}

function namespaceOf({ metadata }: Resource): string {
  return metadata.namespace ?? "";
}
