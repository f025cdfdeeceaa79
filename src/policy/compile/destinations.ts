/** Names and addresses that callers use → destinations. */
import { isExternal } from "../../resources/service.ts";
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

/** The ports that one name leads to. */
type Ports = Map<number, Destination>;

const HTTP_PORT = 80;

export function compileDestinations(
  served: Iterable<ServedPort>,
  route: (port: ServedPort, cluster: Cluster) => Route,
  faultsOf: FaultsOf,
  caller: string,
  trustDomain: string,
  warnings: string[],
): Destinations {
  const names = new Map<string, Ports>();
  const addresses = new Map<string, Destination>();
  const all: Destination[] = [];
  const bare: { name: string; port: number; destination: Destination }[] = [];

  const lead = (
    name: string,
    port: number,
    destination: Destination,
    service: string,
  ): void => {
    const ports = names.get(name) ?? new Map<number, Destination>();
    names.set(name, ports);
    const there = ports.get(port);
    if (there === undefined) ports.set(port, destination);
    else
      warnings.push(
        `Service ${service} does not get ${name}:${port}: it leads to ${there.key}`,
      );
  };

  // A Service's name may hold dots, so one could pass for another's longer form; plain names come first.
  const ordered = [...served].sort(
    (left, right) =>
      Number(left.service.metadata.name.includes(".")) -
      Number(right.service.metadata.name.includes(".")),
  );
  for (const target of ordered) {
    const { service, port, cluster } = target;
    const { name } = service.metadata;
    const namespace = namespaceOf(service);
    const destination = makeDestination(target, cluster, route, faultsOf);
    all.push(destination);
    const full = `${name}.${namespace}`;
    for (const form of [full, `${full}.svc`, `${full}.svc.${trustDomain}`])
      lead(form, port.port, destination, nameOf(service));
    if (namespace === caller) bare.push({ name, port: port.port, destination });
    addAddresses(target, destination, route, faultsOf, addresses);
  }
  for (const target of ordered) {
    if (!isExternal(target.service.spec)) continue;
    for (const host of target.service.spec.hosts ?? []) {
      const own = target.byEndpoint.get(externalKey(host, target.port));
      const destination =
        own === undefined
          ? all.find(({ key }) => key === target.cluster.key)
          : makeDestination(target, own, route, faultsOf);
      if (destination === undefined) continue;
      if (own !== undefined) all.push(destination);
      lead(
        host.toLowerCase(),
        target.port.port,
        destination,
        nameOf(target.service),
      );
    }
  }
  // The short form last: it is a convenience of one namespace and takes no full name away.
  for (const { name, port, destination } of bare)
    if (names.get(name)?.has(port) !== true)
      lead(name, port, destination, name);

  return {
    all,
    byHost(host, port) {
      const ports = names.get(host) ?? names.get(canonical(host));
      if (ports === undefined) return undefined;
      if (port !== undefined) return ports.get(port);
      return ports.get(HTTP_PORT) ?? ports.values().next().value;
    },
    byAddress: (address, port) => addresses.get(`${address} ${port}`),
  };
}

function canonical(host: string): string {
  return (host.endsWith(".") ? host.slice(0, -1) : host).toLowerCase();
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
 * other bytes go to the very endpoint that was dialled. Where several Services select the endpoint, the oldest has it.
 */
function addAddresses(
  target: ServedPort,
  destination: Destination,
  route: (port: ServedPort, cluster: Cluster) => Route,
  faultsOf: FaultsOf,
  addresses: Map<string, Destination>,
): void {
  const { cluster, service, byEndpoint } = target;
  if (cluster.external && service.spec.resolution !== "STATIC") return;
  for (const endpoint of cluster.endpoints) {
    const key = `${endpoint.address} ${endpoint.port}`;
    if (addresses.has(key)) continue;
    const own = byEndpoint.get(endpoint.key);
    addresses.set(
      key,
      own === undefined
        ? destination
        : makeDestination(target, own, route, faultsOf),
    );
  }
}
