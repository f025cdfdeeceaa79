/** Services and the Workloads that they select → clusters: the endpoints behind each port and how to treat them. */
import { formatHostPort } from "../../core/text/host-port.ts";
import { formatSpiffeId } from "../../identity/spiffe.ts";
import { serviceKey } from "../../mesh/service-key.ts";
import type { MeshSettings } from "../../resources/mesh/schema.ts";
import {
  appProtocolOf,
  DEFAULT_APP_PROTOCOL,
  isExternal,
  isExportedTo,
  targetPortOf,
  type ServicePort,
  type ServiceResource,
} from "../../resources/service/schema.ts";
import {
  trafficSettings,
  type TrafficPolicyResource,
} from "../../resources/traffic-policy/settings.ts";
import {
  applicationPort,
  workloadSettings,
  type WorkloadResource,
} from "../../resources/workload/schema.ts";
import type { Cluster, Endpoint, SelfDescription } from "../snapshot.ts";
import { selection } from "./selection.ts";
import { nameOf, type Sorted } from "./sort.ts";

/** One port of one Service that callers here may use. */
export interface ServedPort {
  readonly service: ServiceResource;
  readonly port: ServicePort;
  readonly cluster: Cluster;
  /**
   * Clusters of one endpoint, by its key: of an external Service with several DNS hosts, for a request to one must not go to
   * another; and where the protocol is opaque, for captured bytes go where they were sent (a database's replica is not its primary).
   */
  readonly byEndpoint: ReadonlyMap<string, Cluster>;
}

export function namespaceOf(resource: ServiceResource): string {
  return resource.metadata.namespace ?? "";
}

/** The ports of all Services that are exported to the caller, by cluster key. */
export function compileClusters(
  sorted: Sorted,
  caller: SelfDescription,
  mesh: MeshSettings,
  previous: readonly Cluster[],
  warnings: string[],
): Map<string, ServedPort> {
  const known = new Map(previous.map((cluster) => [cluster.key, cluster]));
  const policies = policiesByService(sorted.trafficPolicies);
  const selected = selection(sorted.workloads);
  const locality = localityOf(sorted, caller);
  const served = new Map<string, ServedPort>();
  for (const service of sorted.services) {
    const namespace = namespaceOf(service);
    if (!isExportedTo(service.spec, namespace, caller.namespace)) continue;
    const workloads = selected(service);
    for (const port of service.spec.ports) {
      const key = serviceKey(service.metadata.name, namespace, port.port);
      const traffic = trafficFor(
        policies.get(`${namespace}/${service.metadata.name}`) ?? [],
        service,
        port,
        mesh,
        warnings,
      );
      const endpoints = isExternal(service.spec)
        ? externalEndpoints(service, port)
        : workloadEndpoints(workloads, port, mesh, locality);
      const make = (clusterKey: string, of: readonly Endpoint[]): Cluster =>
        takeOver(known.get(clusterKey), {
          key: clusterKey,
          destination: key,
          service: { name: service.metadata.name, namespace },
          port: port.port,
          appProtocol: appProtocolOf(port),
          external: isExternal(service.spec),
          endpoints: of,
          ...traffic,
        });
      const byEndpoint = new Map<string, Cluster>();
      const dialledByName =
        isExternal(service.spec) && service.spec.resolution !== "STATIC";
      if (dialledByName ? endpoints.length > 1 : isOpaque(port))
        for (const endpoint of endpoints)
          byEndpoint.set(
            endpoint.key,
            make(`${key}@${endpoint.key}`, [endpoint]),
          );
      served.set(key, {
        service,
        port,
        cluster: make(key, endpoints),
        byEndpoint,
      });
    }
  }
  return served;
}

/** Nothing is known of what is in the bytes, so no route applies to them. */
export function isOpaque(port: Pick<ServicePort, "appProtocol">): boolean {
  const protocol = port.appProtocol ?? DEFAULT_APP_PROTOCOL;
  return protocol === "tcp" || protocol === "tls";
}

function workloadEndpoints(
  workloads: readonly WorkloadResource[],
  port: ServicePort,
  mesh: MeshSettings,
  locality: string,
): Endpoint[] {
  return workloads.flatMap((workload) => {
    const application = applicationPort(workload.spec, port);
    if (application === undefined) return [];
    const settings = workloadSettings(workload.spec);
    return [
      {
        key: `${nameOf(workload)}:${application}`,
        workload: nameOf(workload),
        address: settings.address,
        port: application,
        link: settings.link?.port,
        identity:
          settings.link === undefined
            ? undefined
            : formatSpiffeId({
                trustDomain: mesh.trustDomain,
                namespace: workload.metadata.namespace ?? "",
                serviceAccount: settings.serviceAccount,
              }),
        weight: settings.weight,
        locality: settings.locality,
        distance: distance(locality, settings.locality),
        ready: settings.ready,
      },
    ];
  });
}

/** Where the caller stands: as it was declared at its start, else as it was registered. */
function localityOf(
  sorted: Sorted,
  { name, namespace, ...self }: SelfDescription,
): string {
  return (
    self.locality ??
    sorted.workloads.find(
      ({ metadata }) =>
        metadata.name === name && metadata.namespace === namespace,
    )?.spec.locality ??
    ""
  );
}

/** 3 for another region, 2 for another zone, 1 for another subzone than one's own; what the caller does not say of itself is no difference. */
function distance(own: string, other: string): number {
  if (own === "") return 0;
  const parts = other.split("/");
  const differs = own
    .split("/")
    .findIndex((part, index) => part !== parts[index]);
  return differs < 0 ? 0 : 3 - differs;
}

function externalEndpoints(
  { spec }: ServiceResource,
  port: ServicePort,
): Endpoint[] {
  const addresses =
    spec.resolution === "STATIC"
      ? (spec.endpoints ?? []).map(({ address }) => address)
      : (spec.hosts ?? []);
  return addresses.map((address) => ({
    key: externalKey(address, port),
    workload: address,
    address,
    port: targetPortOf(port),
    link: undefined,
    identity: undefined,
    weight: 1,
    locality: "",
    distance: 0,
    ready: true,
  }));
}

/** Key of an external Service's endpoint. */
export function externalKey(address: string, port: ServicePort): string {
  return formatHostPort(address, targetPortOf(port));
}

function policiesByService(
  policies: readonly TrafficPolicyResource[],
): Map<string, TrafficPolicyResource[]> {
  const byService = new Map<string, TrafficPolicyResource[]>();
  for (const policy of policies)
    for (const name of new Set(policy.spec.targetRefs.map((ref) => ref.name))) {
      const key = `${policy.metadata.namespace ?? ""}/${name}`;
      const list = byService.get(key);
      if (list === undefined) byService.set(key, [policy]);
      else list.push(policy);
    }
  return byService;
}

/** The oldest policy wins as a whole object (trap 13); that of a port replaces blocks of that of the Service (trap 14). */
function trafficFor(
  policies: readonly TrafficPolicyResource[],
  service: ServiceResource,
  port: ServicePort,
  mesh: MeshSettings,
  warnings: string[],
): Pick<Cluster, "settings" | "policy" | "servicePolicy"> {
  const aimed = (section: string | undefined): TrafficPolicyResource[] =>
    policies.filter(({ spec }) =>
      spec.targetRefs.some(
        (ref) =>
          ref.name === service.metadata.name && ref.sectionName === section,
      ),
    );
  const [general, ...younger] = aimed(undefined);
  const [own, ...youngerOwn] = port.name === undefined ? [] : aimed(port.name);
  for (const [winner, losers] of [
    [general, younger],
    [own, youngerOwn],
  ] as const)
    for (const loser of losers)
      addOnce(
        warnings,
        `TrafficPolicy ${nameOf(loser)} is not in force for Service ${nameOf(service)}: ${winner === undefined ? "another" : nameOf(winner)} is older`,
      );
  const settings = trafficSettings(general?.spec, own?.spec, mesh);
  const deciding = own ?? general;
  return deciding === undefined
    ? { settings }
    : {
        settings,
        policy: nameOf(deciding),
        ...(own === undefined || general === undefined
          ? {}
          : { servicePolicy: nameOf(general) }),
      };
}

function addOnce(warnings: string[], warning: string): void {
  if (!warnings.includes(warning)) warnings.push(warning);
}

/** The cluster of the snapshot before where nothing changed, and at least its unchanged endpoints: state hangs on identity. */
function takeOver(old: Cluster | undefined, cluster: Cluster): Cluster {
  if (old === undefined) return cluster;
  const before = new Map(old.endpoints.map((each) => [each.key, each]));
  const endpoints = cluster.endpoints.map((each) => {
    const known = before.get(each.key);
    return known !== undefined && sameEndpoint(known, each) ? known : each;
  });
  const same =
    old.endpoints.length === endpoints.length &&
    old.endpoints.every((each, index) => each === endpoints[index]) &&
    old.appProtocol === cluster.appProtocol &&
    old.external === cluster.external &&
    old.policy === cluster.policy &&
    old.servicePolicy === cluster.servicePolicy &&
    JSON.stringify(old.settings) === JSON.stringify(cluster.settings);
  return same ? old : { ...cluster, endpoints };
}

function sameEndpoint(left: Endpoint, right: Endpoint): boolean {
  return (
    left.address === right.address &&
    left.port === right.port &&
    left.link === right.link &&
    left.identity === right.identity &&
    left.weight === right.weight &&
    left.locality === right.locality &&
    left.distance === right.distance &&
    left.ready === right.ready
  );
}
