/** All clusters, destinations and warnings, joined from the Services: for people and for tests, so they are put together when asked for. */
import { formatHostPort } from "../../core/text/host-port.ts";
import { claimableHosts } from "../../resources/ownership/host-owners.ts";
import { isExternal } from "../../resources/service/schema.ts";
import type { Cluster, Destination } from "../snapshot.ts";
import { claimsOn, oldestOf, ownerOf as claimedBy } from "./destinations.ts";
import { externalKey } from "./endpoints.ts";
import { byAge, namespaceOf, type HeldService } from "./held/held.ts";
import { ALL, byClaim } from "./held/indexes.ts";
import type { CompiledParts } from "./kept.ts";
import type { Target, Unit } from "./unit.ts";

/** In the order of their Services, the oldest first. */
export function clustersOf(kept: CompiledParts): readonly Cluster[] {
  return unitsOf(kept).flatMap(({ served }) =>
    served.ports.flatMap(({ cluster, byEndpoint }) => [
      cluster,
      ...byEndpoint.values(),
    ]),
  );
}

/** The mesh's own before external ones, and at the end those of single hosts of external ones. */
export function destinationsOf(kept: CompiledParts): readonly Destination[] {
  const units = internalFirst(unitsOf(kept));
  return [
    ...units.flatMap(({ targets }) =>
      targets.map(({ destination }) => destination),
    ),
    ...units.flatMap((unit) =>
      claimsOf(unit).flatMap((claim) => {
        const { host, target, service } = claim;
        const key = externalKey(host, target.destination.port);
        const own = target.byEndpoint.get(key);
        return own === undefined || ownerOf(kept, claim) !== service.name
          ? []
          : [own];
      }),
    ),
  ];
}

/** Those with faults. */
export function faultyOf({
  indexes,
  units,
}: CompiledParts): readonly Destination[] {
  const found: Unit[] = [];
  for (const name of indexes.faults.keys()) {
    const unit = units.get(name);
    if (unit !== undefined) found.push(unit);
  }
  return found
    .sort((left, right) => byAge(left.served.service, right.served.service))
    .flatMap(({ targets }) => targets.map(({ destination }) => destination))
    .filter(({ faults }) => faults !== undefined);
}

/** What is odd but does not stop the snapshot. */
export function warningsOf(kept: CompiledParts): readonly string[] {
  const units = unitsOf(kept);
  const ordered = internalFirst(units);
  return [
    ...new Set([
      ...units.flatMap(({ served }) =>
        served.ports.flatMap(({ traffic }) => traffic.warnings),
      ),
      ...ordered.flatMap(({ targets }) => targets.flatMap(routeWarnings)),
      ...ordered.flatMap((unit) => hostWarnings(kept, unit)),
      ...addressWarnings(kept),
      ...kept.inbound.warnings,
      ...kept.recording.warnings,
    ]),
  ];
}

function unitsOf({ indexes, units }: CompiledParts): readonly Unit[] {
  return indexes.services.get(ALL).flatMap(({ name }) => units.get(name) ?? []);
}

function internalFirst(units: readonly Unit[]): readonly Unit[] {
  const external = ({ served }: Unit): boolean =>
    isExternal(served.service.resource.spec);
  return [
    ...units.filter((unit) => !external(unit)),
    ...units.filter((unit) => external(unit)),
  ];
}

function routeWarnings({
  bound,
  destination,
  byEndpoint,
}: Target): readonly string[] {
  const { idle, warnings } = bound.routes;
  return [
    ...[destination, ...byEndpoint.values()].flatMap(({ key, cluster }) =>
      idle.map(
        (title) =>
          `${title} does nothing on ${key}: its appProtocol is ${cluster.appProtocol}`,
      ),
    ),
    ...bound.warnings,
    ...warnings,
  ];
}

/** A host that an external Service claims, with one of its ports. */
interface HostClaim {
  readonly host: string;
  readonly service: HeldService;
  readonly target: Target;
}

function claimsOf({ served, targets }: Unit): readonly HostClaim[] {
  const { service } = served;
  const { spec } = service.resource;
  if (!isExternal(spec)) return [];
  return targets.flatMap((target) =>
    (spec.hosts ?? []).map((host) => ({ host, service, target })),
  );
}

/** The Service to which callers here get by the host and port; undefined where no external Service may have the host. */
function ownerOf(
  { names, frame }: CompiledParts,
  { host, service, target }: HostClaim,
): string | undefined {
  if (!claimableHosts(service.resource, frame.mesh).includes(host))
    return undefined;
  const own = names.own.get(host);
  if (own !== undefined) return own;
  const claims = claimsOn(names.hosts, host);
  const oldest = oldestOf(claims);
  const elsewhere =
    oldest !== undefined &&
    namespaceOf(oldest.resource) !== namespaceOf(service.resource);
  return elsewhere
    ? oldest.name
    : claimedBy(claims, target.destination.port.port)?.service.name;
}

function hostWarnings(kept: CompiledParts, unit: Unit): readonly string[] {
  return claimsOf(unit).flatMap((claim) => {
    const { host, service, target } = claim;
    const owner = ownerOf(kept, claim);
    if (owner === service.name) return [];
    const place = formatHostPort(host, target.destination.port.port);
    return [
      `Service ${service.name} does not get ${place}: ${
        owner === undefined
          ? "no external Service may have it"
          : `it belongs to Service ${owner}`
      }`,
    ];
  });
}

function addressWarnings({ indexes }: CompiledParts): readonly string[] {
  return Array.from(indexes.lost.entries(), ([, loss]) => loss)
    .sort(
      (left, right) =>
        byClaim(left.loser, right.loser) || (left.place < right.place ? -1 : 1),
    )
    .map(
      ({ loser, winner, place }) =>
        `Workload ${loser.name} does not get calls to ${place}: it belongs to Workload ${winner.name}`,
    );
}
