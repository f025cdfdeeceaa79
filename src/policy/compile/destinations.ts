/** Names and addresses that callers use → destinations. */
import { hostOf } from "../../core/text/authority.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import type { AddressOwners } from "../../resources/ownership/address-owners.ts";
import { hostOwners, namesOf } from "../../resources/ownership/host-owners.ts";
import {
  isExternal,
  type ServiceResource,
} from "../../resources/service/schema.ts";
import type { Cluster, Destination } from "../snapshot.ts";
import { externalKey, namespaceOf, type ServedPort } from "./clusters.ts";
import type { FaultsOf } from "./faults.ts";
import type { Route } from "./routes.ts";
import { nameOf } from "./sort.ts";

export interface Destinations {
  readonly all: readonly Destination[];
  byHost(host: string, port: number | undefined): Destination | undefined;
  byAddress(address: string, port: number): Destination | undefined;
}

function notLed(
  service: ServiceResource,
  host: string,
  port: number,
  owner: ServiceResource | undefined,
): string {
  const why =
    owner === undefined
      ? "no external Service may have it"
      : `it belongs to Service ${nameOf(owner)}`;
  return `Service ${nameOf(service)} does not get ${formatHostPort(host, port)}: ${why}`;
}

/** The ports that one name leads to. */
type Ports = Map<number, Destination>;

const HTTP_PORT = 80;

export function compileDestinations(
  served: Iterable<ServedPort>,
  route: (port: ServedPort, cluster: Cluster) => Route,
  faultsOf: FaultsOf,
  caller: string,
  trustDomain: string,
  places: AddressOwners,
  warnings: string[],
): Destinations {
  const names = new Map<string, Ports>();
  const addresses = new Map<string, Destination>();
  const all: Destination[] = [];
  const lead = (name: string, port: number, destination: Destination): void => {
    const ports = names.get(name) ?? new Map<number, Destination>();
    names.set(name, ports);
    if (!ports.has(port)) ports.set(port, destination);
  };

  const targets = inOrder(served);
  const made = new Map<ServedPort, Destination>();
  for (const target of targets) {
    const { service, port, cluster } = target;
    const destination = makeDestination(target, cluster, route, faultsOf);
    made.set(target, destination);
    all.push(destination);
    for (const name of namesOf(service, trustDomain))
      lead(name, port.port, destination);
    // The short form is a convenience of one namespace, and no host of an external Service is a single label.
    if (namespaceOf(service) === caller)
      lead(service.metadata.name, port.port, destination);
    addAddresses(target, destination, route, faultsOf, places, addresses);
  }
  const owners = hostOwners(
    [...new Set(targets.map(({ service }) => service))],
    trustDomain,
  );
  for (const target of targets) {
    if (!isExternal(target.service.spec)) continue;
    for (const host of target.service.spec.hosts ?? []) {
      const { service, port } = target;
      const owner = owners.owner(service, host, port.port, caller);
      if (owner !== service) {
        warnings.push(notLed(service, host, port.port, owner));
        continue;
      }
      const own = target.byEndpoint.get(externalKey(host, port));
      const destination =
        own === undefined
          ? made.get(target)
          : makeDestination(target, own, route, faultsOf);
      if (destination === undefined) continue;
      if (own !== undefined) all.push(destination);
      lead(host, port.port, destination);
    }
  }

  for (const { loser, winner, place } of places.losses)
    warnings.push(
      `Workload ${nameOf(loser)} does not get calls to ${place}: it belongs to Workload ${nameOf(winner)}`,
    );

  return {
    all,
    byHost(host, port) {
      const ports = names.get(host) ?? names.get(hostOf(host));
      return ports === undefined ? undefined : destinationAt(ports, port);
    },
    byAddress: (address, port) => addresses.get(`${address} ${port}`),
  };
}

/** The mesh's own addresses before those of external Services; plain names before dotted ones, which could pass for a longer form. */
function inOrder(served: Iterable<ServedPort>): readonly ServedPort[] {
  return [...served].sort(
    (left, right) =>
      Number(isExternal(left.service.spec)) -
        Number(isExternal(right.service.spec)) ||
      Number(left.service.metadata.name.includes(".")) -
        Number(right.service.metadata.name.includes(".")),
  );
}

function destinationAt(
  ports: Ports,
  port: number | undefined,
): Destination | undefined {
  if (port !== undefined) return ports.get(port);
  return ports.get(HTTP_PORT) ?? ports.values().next().value;
}

function makeDestination(
  target: ServedPort,
  cluster: Cluster,
  route: (port: ServedPort, cluster: Cluster) => Route,
  faultsOf: FaultsOf,
): Destination {
  return {
    key: cluster.key,
    service: cluster.service,
    port: target.port,
    ...route(target, cluster),
    faults: faultsOf(target),
    cluster,
  };
}

/**
 * A captured connection names an endpoint, not a Service. HTTP goes by the Service's routes and balancing, as it would by name;
 * other bytes go to the very endpoint that was dialled. Where several Services select the endpoint, the oldest has it; but no call
 * leaves the identity that has the address: an endpoint whose Workload claims what another's has is not reached so.
 */
function addAddresses(
  target: ServedPort,
  destination: Destination,
  route: (port: ServedPort, cluster: Cluster) => Route,
  faultsOf: FaultsOf,
  places: AddressOwners,
  addresses: Map<string, Destination>,
): void {
  const { cluster, service, byEndpoint } = target;
  if (cluster.external && service.spec.resolution !== "STATIC") return;
  for (const endpoint of cluster.endpoints) {
    const key = `${endpoint.address} ${endpoint.port}`;
    if (addresses.has(key)) continue;
    const { workload, address, port } = endpoint;
    if (!cluster.external && !places.has(workload, address, port)) continue;
    const own = byEndpoint.get(endpoint.key);
    addresses.set(
      key,
      own === undefined
        ? destination
        : makeDestination(target, own, route, faultsOf),
    );
  }
}
