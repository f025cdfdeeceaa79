/** What a sidecar must know to decide on the Services, hosts and addresses that it uses as it would with the whole mesh: pure, over the indexes. */
import { wildcardsOver } from "../../../core/text/wildcards.ts";
import { formatHostPort } from "../../../core/text/host-port.ts";
import type { Question } from "../../../push/interest.ts";
import { isKind } from "../../../resources/kind.ts";
import {
  applicationPort,
  WORKLOAD,
} from "../../../resources/workload/schema.ts";
import type { Item } from "./item.ts";
import { sees, type ScopeOf } from "./membership.ts";
import type { MeshIndex } from "./mesh-index.ts";
import {
  hostsOf,
  isRoute,
  namespaceOf,
  pathOf,
  servicesLedTo,
} from "../../../resources/cross-checks/relations.ts";
import { servicesLeadingTo, type EndpointKey } from "./shared-endpoints.ts";

type Caller = Pick<ScopeOf, "namespace">;

/** Services are named by "NAMESPACE/NAME". */
export interface Closure {
  /** Those that calls may lead to. */
  readonly services: Set<string>;
  /** All that were looked for, also those that are not there or not visible: what comes to be of them changes the closure. */
  readonly sought: Set<string>;
  /** Hosts whose claimants have all been looked for. */
  readonly hosts: Set<string>;
  /** Shared endpoints, likewise. */
  readonly endpoints: Set<EndpointKey>;
}

export function emptyClosure(): Closure {
  return {
    services: new Set(),
    sought: new Set(),
    hosts: new Set(),
    endpoints: new Set(),
  };
}

/** Adds Services with all that their callers must know of; gives those that were not looked for before. */
export function extend(
  { services, sought, hosts, endpoints }: Closure,
  by: Iterable<string>,
  caller: Caller,
  index: MeshIndex,
): readonly string[] {
  const added: string[] = [];
  const rest = [...by];
  for (let path = rest.pop(); path !== undefined; path = rest.pop()) {
    if (sought.has(path)) continue;
    sought.add(path);
    added.push(path);
    const service = index.service(path);
    if (service === undefined || !sees(caller, service)) continue;
    services.add(path);
    rest.push(...ledTo(caller, path, index));
    // Which of several has a host, or an address, follows from all that claim it.
    for (const host of hostsOf(service)) {
      if (hosts.has(host)) continue;
      hosts.add(host);
      for (const { resource } of index.claimants(host))
        if (resource !== undefined) rest.push(pathOf(resource));
    }
    for (const endpoint of index.shared.of(path)) {
      if (endpoints.has(endpoint)) continue;
      endpoints.add(endpoint);
      for (const sharer of servicesLeadingTo(endpoint, index))
        rest.push(sharer);
    }
  }
  return added;
}

/** By the routes that act for callers of the namespace. */
function ledTo(
  { namespace }: Caller,
  path: string,
  index: MeshIndex,
): string[] {
  const [home = ""] = path.split("/");
  return [...index.beside.get(path)].flatMap(({ resource }) =>
    resource !== undefined &&
    isRoute(resource) &&
    [home, namespace].includes(namespaceOf(resource))
      ? servicesLedTo(resource)
      : [],
  );
}

/** "NAMESPACE/NAME" of each visible Service that the host or the address may lead to, sorted. */
export function servicesFor(
  question: Question,
  caller: Caller,
  index: MeshIndex,
): readonly string[] {
  const found =
    question.kind === "host"
      ? servicesOfHost(question.host, caller, index)
      : servicesAt(question.address, question.port, index);
  return [...new Set(found)]
    .filter((path) => {
      const service = index.service(path);
      return service !== undefined && sees(caller, service);
    })
    .sort();
}

/** What a change must concern to change what the question leads to: hosts, bare names of Services, places. */
export function keysOfQuestion(question: Question): readonly string[] {
  if (question.kind === "address")
    return [formatHostPort(question.address, question.port)];
  const { host } = question;
  // Whichever the trust domain is.
  const end = host.indexOf(".svc.");
  return end < 0
    ? [host, ...wildcardsOver(host)]
    : [host, host.slice(0, end + ".svc".length)];
}

function servicesOfHost(
  host: string,
  { namespace }: Caller,
  index: MeshIndex,
): string[] {
  const end = `.svc.${index.trustDomain}`;
  const plain = host.endsWith(end) ? `${host.slice(0, -end.length)}.svc` : host;
  return [
    ...[...index.claimants(plain)].flatMap(({ resource }) =>
      resource === undefined ? [] : pathOf(resource),
    ),
    // The short name holds in its own namespace.
    `${namespace}/${host}`,
  ];
}

function servicesAt(address: string, port: number, index: MeshIndex): string[] {
  const place = formatHostPort(address, port);
  const fixed = [...index.fixed.get(place)].flatMap(({ resource }) =>
    resource === undefined ? [] : pathOf(resource),
  );
  const selecting = [...index.places.get(place)].flatMap((item) =>
    [...index.selection.servicesOf(item)].filter((path) =>
      servesPort(path, item, port, index),
    ),
  );
  return [...fixed, ...selecting];
}

function servesPort(
  path: string,
  { resource }: Item,
  port: number,
  index: MeshIndex,
): boolean {
  const service = index.service(path);
  return (
    resource !== undefined &&
    isKind(WORKLOAD, resource) &&
    (service?.spec.ports ?? []).some(
      (each) => applicationPort(resource.spec, each) === port,
    )
  );
}
