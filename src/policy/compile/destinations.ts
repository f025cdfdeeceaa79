/** Names and addresses that callers use → the destinations that they lead to. */
import { hostOf } from "../../core/text/authority.ts";
import { comparableAddress } from "../../core/text/network.ts";
import { isWildcard, wildcardsOver } from "../../core/text/wildcards.ts";
import {
  PersistentGroups,
  type GroupsEdit,
} from "../../core/persistent/groups.ts";
import { PersistentMap, type MapEdit } from "../../core/persistent/map.ts";
import type { Steps } from "../../core/slices.ts";
import { placeOf } from "../../resources/ownership/address-owners.ts";
import {
  claimableHosts,
  hostOwner,
  namesOf,
} from "../../resources/ownership/host-owners.ts";
import type { Destination, Endpoint } from "../snapshot.ts";
import type { ServedPorts } from "./clusters.ts";
import { externalKey, inCommon } from "./endpoints.ts";
import {
  byAge,
  namespaceOf,
  type HeldService,
  type HeldWorkload,
} from "./held/held.ts";
import { lossKey, type Indexes } from "./held/indexes.ts";
import { belowWildcard, type Unit } from "./unit.ts";

/** Where what callers say leads. Which Service it is changes seldom; what that Service's destinations are, often: they are looked up. */
export interface Names {
  /** The Service, by each of its own names. */
  readonly own: PersistentMap<string>;
  /** The external Services that claim a host, the oldest first. */
  readonly hosts: PersistentGroups<HeldService>;
  /** The endpoints at "ADDRESS PORT", an address in its one form; the first to be asked first. */
  readonly addresses: PersistentGroups<AddressClaim>;
}

/** A Service that leads to a place: what a captured connection to that place may be for (captured.ts). */
export interface AddressClaim {
  readonly service: HeldService;
  /** Index of the Service's port. */
  readonly port: number;
  /** Its key. */
  readonly endpoint: string;
  /** The port of the endpoint itself. */
  readonly applicationPort: number;
  /** Undefined for an address of an external Service. */
  readonly workload: HeldWorkload | undefined;
  /** The place of an external Service's address among its others. */
  readonly index: number;
}

export const NO_NAMES: Names = {
  own: new PersistentMap(),
  hosts: new PersistentGroups<HeldService>(byAge),
  addresses: new PersistentGroups(byPrecedence),
};

/** Names that are being brought into step with changes. */
export class NamesEdit {
  readonly #own: MapEdit<string>;
  readonly #hosts: GroupsEdit<HeldService>;
  readonly #addresses: GroupsEdit<AddressClaim>;

  constructor(before: Names) {
    this.#own = before.own.edit();
    this.#hosts = before.hosts.edit();
    this.#addresses = before.addresses.edit();
  }

  /** A Service takes the place of what it was; undefined where it was not, or is not, there. */
  *swap(
    before: ServedPorts | undefined,
    after: ServedPorts | undefined,
  ): Steps<void> {
    const alike = before?.service === after?.service;
    if (before?.frame !== after?.frame || !alike) {
      if (before !== undefined) this.#leaveNames(before);
      if (after !== undefined) this.#enterNames(after);
    }
    const ports = Math.max(before?.ports.length ?? 0, after?.ports.length ?? 0);
    for (let port = 0; port < ports; port += 1) {
      const old = before?.ports[port]?.members.workloads ?? [];
      const now = after?.ports[port]?.members.workloads ?? [];
      if (alike && old === now) continue;
      const same = alike ? inCommon(old, now) : NOTHING;
      if (before !== undefined) yield* this.#leave(before, port, same);
      if (after !== undefined) yield* this.#enter(after, port, same);
    }
  }

  *settle(): Steps<void> {
    yield* this.#hosts.settle();
    yield* this.#addresses.settle();
  }

  done(): Names {
    return {
      own: this.#own.done(),
      hosts: this.#hosts.done(),
      addresses: this.#addresses.done(),
    };
  }

  #enterNames(served: ServedPorts): void {
    for (const name of ownNames(served))
      this.#own.set(name, served.service.name);
    for (const host of hostsOf(served)) this.#hosts.add(host, served.service);
  }

  #leaveNames(served: ServedPorts): void {
    // Where the caller is of another namespace now, another Service may have the short name already.
    for (const name of ownNames(served))
      if (this.#own.get(name) === served.service.name) this.#own.delete(name);
    for (const host of hostsOf(served))
      this.#hosts.remove(host, served.service);
  }

  *#enter(served: ServedPorts, port: number, same: Common): Steps<void> {
    for (const [address, claim] of claimsOf(served, port, same)) {
      yield;
      this.#addresses.add(address, claim);
    }
  }

  *#leave(served: ServedPorts, port: number, same: Common): Steps<void> {
    for (const [address, claim] of claimsOf(served, port, same)) {
      yield;
      const held = this.#addresses
        .get(address)
        .find((each) => byPrecedence(each, claim) === 0);
      if (held !== undefined) this.#addresses.remove(address, held);
    }
  }
}

/** By the name that the caller used. */
export function byHost(
  { own, hosts }: Names,
  unitOf: (name: string) => Unit | undefined,
  host: string,
  port: number | undefined,
): Destination | undefined {
  for (let name = host; ;) {
    const service = own.get(name);
    if (service !== undefined) return ownPort(unitOf(service), port);
    // A host that a caller makes up, and that nobody has.
    if (isWildcard(name)) return undefined;
    const claims = claimsOn(hosts, name);
    if (claims.length > 0) return externalPort(claims, unitOf, name, port);
    const canonical = hostOf(host);
    if (name === canonical) return undefined;
    name = canonical;
  }
}

/** Its name among the lost ones is made when it is asked for: there is a claim for each instance, and most meshes lose none. */
export function isLost(
  { workload, applicationPort }: AddressClaim,
  lost: Indexes["lost"],
): boolean {
  if (workload === undefined) return false;
  const place = placeOf(workload.resource, applicationPort);
  return lost.get(lossKey(workload.name, place)) !== undefined;
}

const HTTP_PORT = 80;

function ownPort(
  unit: Unit | undefined,
  port: number | undefined,
): Destination | undefined {
  if (unit === undefined) return undefined;
  const { targets } = unit;
  return port === undefined
    ? (targetAt(targets, HTTP_PORT) ?? targets[0]?.destination)
    : targetAt(targets, port);
}

function targetAt(
  targets: Unit["targets"],
  port: number,
): Destination | undefined {
  for (const { destination } of targets)
    if (destination.port.port === port) return destination;
  return undefined;
}

/** A Service that claims a host, and the name or wildcard by which it does. */
export interface HostClaim {
  readonly service: HeldService;
  readonly host: string;
}

/** Those that claim the host: by its own name before the longest wildcard, then the oldest first. */
export function claimsOn(
  hosts: Names["hosts"],
  host: string,
): readonly HostClaim[] {
  const exact = hosts.get(host);
  const claims = exact.map((service) => ({ service, host }));
  for (const wildcard of wildcardsOver(host))
    for (const service of hosts.get(wildcard))
      claims.push({ service, host: wildcard });
  return claims;
}

/** The claim of the Service that has the host with that port. */
export function ownerOf(
  claims: readonly HostClaim[],
  port: number,
): HostClaim | undefined {
  return hostOwner(claims, resourceOf, oldestOf(claims)?.resource, port);
}

export function oldestOf(
  claims: readonly HostClaim[],
): HeldService | undefined {
  let oldest: HeldService | undefined;
  for (const { service } of claims)
    if (oldest === undefined || byAge(service, oldest) < 0) oldest = service;
  return oldest;
}

function resourceOf({ service }: HostClaim): HeldService["resource"] {
  return service.resource;
}

/** A request for one of several hosts of an external Service goes to no other. */
function externalPort(
  claims: readonly HostClaim[],
  unitOf: (name: string) => Unit | undefined,
  host: string,
  port: number | undefined,
): Destination | undefined {
  const at = (number: number | undefined): Destination | undefined => {
    if (number === undefined) return undefined;
    const owner = ownerOf(claims, number);
    const unit = unitOf(owner?.service.name ?? "");
    const index = unit?.targets.findIndex(
      ({ destination }) => destination.port.port === number,
    );
    const target = unit?.targets[index ?? -1];
    if (unit === undefined || index === undefined || target === undefined)
      return undefined;
    if (owner !== undefined && owner.host !== host)
      return belowWildcard(unit, index, host);
    if (target.byEndpoint.size === 0) return target.destination;
    return (
      target.byEndpoint.get(externalKey(host, target.destination.port)) ??
      target.destination
    );
  };
  return port === undefined
    ? (at(HTTP_PORT) ?? at(oldestOf(claims)?.resource.spec.ports[0]?.port))
    : at(port);
}

/** The short form is a convenience of one namespace, and no host of an external Service is a single label. */
function ownNames({ service, frame }: ServedPorts): readonly string[] {
  const names = namesOf(service.resource, frame.mesh.trustDomain);
  return namespaceOf(service.resource) === frame.self.namespace
    ? [...names, service.resource.metadata.name]
    : names;
}

/** Those that an external Service may have at all. */
function hostsOf({ service, frame }: ServedPorts): ReadonlySet<string> {
  return new Set(claimableHosts(service.resource, frame.mesh));
}

type Common = ReturnType<typeof inCommon>;

const NOTHING: Common = { head: 0, tail: 0 };

/** What the endpoints of a port claim, but for those of the Workloads that two lists have in common. */
function* claimsOf(
  { service, ports }: ServedPorts,
  port: number,
  { head, tail }: Common,
): Generator<readonly [string, AddressClaim]> {
  const served = ports[port];
  if (served === undefined) return;
  const { workloads, endpoints } = served.members;
  for (let index = head; index < workloads.length - tail; index += 1) {
    const workload = workloads[index];
    const endpoint = endpoints[index];
    if (workload === undefined || endpoint === undefined) continue;
    yield claimAt(service, port, endpoint, workload, 0);
  }
  if (service.resource.spec.resolution !== "STATIC") return;
  for (const [index, endpoint] of served.cluster.endpoints.entries())
    yield claimAt(
      service,
      port,
      // What callers dial, which is not always where it goes.
      { ...endpoint, port: served.port.port },
      undefined,
      index,
    );
}

function claimAt(
  service: HeldService,
  port: number,
  {
    key,
    address,
    port: applicationPort,
  }: Pick<Endpoint, "key" | "address" | "port">,
  workload: HeldWorkload | undefined,
  index: number,
): readonly [string, AddressClaim] {
  return [
    `${comparableAddress(address)} ${applicationPort}`,
    { service, port, endpoint: key, applicationPort, workload, index },
  ];
}

/** The mesh's own addresses before those of external Services; then the oldest. */
function byPrecedence(left: AddressClaim, right: AddressClaim): number {
  return (
    Number(left.workload === undefined) -
      Number(right.workload === undefined) ||
    byAge(left.service, right.service) ||
    left.port - right.port ||
    (left.workload !== undefined && right.workload !== undefined
      ? byAge(left.workload, right.workload)
      : left.index - right.index)
  );
}
