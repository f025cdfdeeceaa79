/** Which Service has a host: one decision, which sidecars follow and the conditions of Services report. */
import type { Steps } from "../../core/slices.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import {
  baseOf,
  isWildcard,
  wildcardsOver,
} from "../../core/text/wildcards.ts";
import { serviceHost } from "../../mesh/service-key.ts";
import type { Resource } from "../envelope.ts";
import type { Problem } from "../kind.ts";
import { claimRefusal } from "../mesh/host-claims.ts";
import type { MeshSettings } from "../mesh/schema.ts";
import { error, quote } from "../problems.ts";
import {
  claimsAt,
  firstBefore,
  overlap,
  type Claim,
  type FirstClaims,
} from "./first-claims.ts";
import {
  findPort,
  isExternal,
  visibilityOf,
  type ServiceResource,
} from "../service/schema.ts";
import { hostFault } from "../text-checks.ts";

/** A host of an external Service that another Service has, or that the Mesh gives to others. */
export interface HostLoss {
  readonly loser: ServiceResource;
  /** Undefined: nobody that is there has it. */
  readonly winner: ServiceResource | undefined;
  /** Index in `spec.hosts`. */
  readonly index: number;
  /** Says what the winner has, and since when. */
  readonly message: string;
}

/** The names of a Service that hold everywhere; the short one holds in its own namespace. */
export function namesOf(
  { metadata: { name, namespace = "" } }: ServiceResource,
  trustDomain: string,
): readonly string[] {
  const full = serviceHost(name, namespace);
  return [full, `${full}.svc`, `${full}.svc.${trustDomain}`];
}

/** Whether the host can be that of no external Service: `hostFault`, with what the trust domain adds. */
export function isMeshForm(host: string, trustDomain: string): boolean {
  const end = `.svc.${trustDomain.toLowerCase()}`;
  return (
    hostFault(host) !== undefined ||
    host.endsWith(end) ||
    // It takes in names of the mesh's own.
    (isWildcard(host) && end.endsWith(`.${baseOf(host)}`))
  );
}

/** What the Mesh says of hosts. */
export type HostRules = Pick<MeshSettings, "trustDomain" | "hostClaims">;

/** The hosts that an external Service may have at all. */
export function claimableHosts(
  { metadata: { namespace = "" }, spec }: ServiceResource,
  { trustDomain, hostClaims }: HostRules,
): readonly string[] {
  return isExternal(spec)
    ? (spec.hosts ?? []).filter(
        (host) =>
          !isMeshForm(host, trustDomain) &&
          claimRefusal(hostClaims, host, namespace) === undefined,
      )
    : [];
}

/**
 * Which of the external Services that claim a host has one of its ports, among those that a caller sees: the first namespace to claim it
 * has the host with all of its ports (trap 18), and there the first of `preferred` that has the port: the host itself comes before the
 * longest wildcard, then the oldest does. `oldest`: of all that claim it.
 */
export function hostOwner<C>(
  preferred: readonly C[],
  serviceOf: (claim: C) => ServiceResource,
  oldest: ServiceResource | undefined,
  port: number,
): C | undefined {
  if (oldest === undefined) return undefined;
  const namespace = namespaceOf(oldest);
  return preferred.find((claim) => {
    const service = serviceOf(claim);
    return (
      namespaceOf(service) === namespace &&
      findPort(service.spec, port) !== undefined
    );
  });
}

/** The hosts that external Services claim in vain, for callers of any namespace. `services` has the oldest first. */
export function* hostLosses(
  services: readonly ServiceResource[],
  { trustDomain, hostClaims }: HostRules,
): Steps<readonly HostLoss[]> {
  const own = new Map<string, ServiceResource>();
  for (const service of services) {
    yield;
    for (const name of namesOf(service, trustDomain)) own.set(name, service);
  }
  const byHost = new Map<string, FirstClaims>();
  const byPort = new Map<string, FirstClaims>();
  const claims: { readonly claim: Claim; readonly index: number }[] = [];
  const losses: HostLoss[] = [];
  for (const [age, service] of services.entries()) {
    yield;
    if (!isExternal(service.spec)) continue;
    const claim = { age, service, visibleTo: visibilityOf(service) };
    for (const [index, host] of (service.spec.hosts ?? []).entries()) {
      if (isMeshForm(host, trustDomain)) continue;
      const why = claimRefusal(hostClaims, host, namespaceOf(service));
      if (why !== undefined) {
        losses.push({ loser: service, winner: undefined, index, message: why });
        continue;
      }
      claims.push({ claim, index });
      claimsAt(byHost, host).add(claim);
      for (const { port } of service.spec.ports)
        claimsAt(byPort, portKey(service, host, port)).add(claim);
    }
  }
  for (const { claim, index } of claims) {
    yield;
    const loss = lossOf(claim, index, own, byHost, byPort);
    if (loss !== undefined)
      losses.push({ loser: claim.service, index, ...loss });
  }
  return losses;
}

/** Hosts that are, or may become, names of the mesh's own Services, and those that the Mesh gives to others. `hasServices`: whether a namespace has any. */
export function checkHosts(
  service: ServiceResource,
  hasServices: (namespace: string) => boolean,
  { trustDomain, hostClaims }: HostRules,
): Problem[] {
  const { spec } = service;
  if (!isExternal(spec)) return [];
  return (spec.hosts ?? []).flatMap((host, index) => {
    const at = ["spec", "hosts", index];
    const [name = "", namespace = "", ...more] = host.split(".");
    if (isMeshForm(host, trustDomain))
      return [
        error(
          at,
          `${quote(host)} has the form of a Service's own name (NAME.NAMESPACE.svc.${trustDomain}): expected a name outside the mesh`,
        ),
      ];
    if (more.length === 0 && hasServices(namespace))
      return [
        error(
          at,
          `${quote(host)} is the name of a Service ${name} in namespace ${namespace}, which this mesh has: expected a name outside the mesh`,
        ),
      ];
    const why = claimRefusal(hostClaims, host, namespaceOf(service));
    return why === undefined ? [] : [error(at, why)];
  });
}

function lossOf(
  claim: Claim,
  index: number,
  own: ReadonlyMap<string, ServiceResource>,
  byHost: ReadonlyMap<string, FirstClaims>,
  byPort: ReadonlyMap<string, FirstClaims>,
): { readonly winner: ServiceResource; readonly message: string } | undefined {
  const { service } = claim;
  const host = service.spec.hosts?.[index] ?? "";
  const named = own.get(host);
  if (named !== undefined && overlap(claim.visibleTo, visibilityOf(named)))
    return {
      winner: named,
      message: `host ${host} is a name of Service ${titleOf(named)}: the mesh's own Services come first`,
    };
  const other = firstBefore(
    [host, ...wildcardsOver(host)].flatMap((each) => byHost.get(each) ?? []),
    claim,
    (winner) => namespaceOf(winner.service) === namespaceOf(service),
  );
  if (other !== undefined)
    return {
      winner: other.winner.service,
      message: `host ${host} belongs to Service ${titleOf(other.winner.service)}${forCallers(other.namespace)}: namespace ${namespaceOf(other.winner.service)} claimed it first`,
    };
  for (const { port } of service.spec.ports) {
    const older = byPort
      .get(portKey(service, host, port))
      ?.before(claim, (winner) => winner.service === service);
    if (older !== undefined)
      return {
        winner: older.winner.service,
        message: `port ${port} of host ${host} belongs to Service ${titleOf(older.winner.service)}${forCallers(older.namespace)}, which is older`,
      };
  }
  return undefined;
}

function forCallers(namespace: string): string {
  return namespace === "*" ? "" : ` for callers in namespace ${namespace}`;
}

function portKey(service: ServiceResource, host: string, port: number): string {
  return `${namespaceOf(service)} ${formatHostPort(host, port)}`;
}

function titleOf(service: ServiceResource): string {
  return `${namespaceOf(service)}/${service.metadata.name}`;
}

function namespaceOf({ metadata }: Resource): string {
  return metadata.namespace ?? "";
}
