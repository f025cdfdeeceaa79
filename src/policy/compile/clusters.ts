/** One Service and the Workloads that it selects → its clusters: the endpoints behind each port and how to treat them. */
import type { Steps } from "../../core/slices.ts";
import { serviceKey } from "../../mesh/service-key.ts";
import { trustDomainsOf } from "../../resources/mesh/schema.ts";
import {
  appProtocolOf,
  isExternal,
  type ServicePort,
} from "../../resources/service/schema.ts";
import {
  trafficSettings,
  type TrafficSettings,
} from "../../resources/traffic-policy/settings.ts";
import type { Cluster, Endpoint } from "../snapshot.ts";
import { priorityMeant } from "./overload.ts";
import { HostsBelow, wildcardsOf } from "./outside/below-wildcards.ts";
import { externalEndpoints, membersOf, type Members } from "./endpoints.ts";
import type { Frame } from "./frame.ts";
import {
  namespaceOf,
  type HeldService,
  type HeldTrafficPolicy,
  type HeldWorkload,
} from "./held/held.ts";

/** What the clusters of a Service are made of. */
export interface PortsInput {
  readonly frame: Frame;
  readonly service: HeldService;
  /** Those that name the Service, the oldest first. */
  readonly policies: readonly HeldTrafficPolicy[];
  /** Those that it selects, the oldest first. */
  readonly workloads: readonly HeldWorkload[];
}

/** All ports of one Service, as callers here may use them. */
export interface ServedPorts extends PortsInput {
  readonly ports: readonly ServedPort[];
}

/** One port of one Service. */
export interface ServedPort {
  readonly port: ServicePort;
  readonly cluster: Cluster;
  /**
   * Clusters of one endpoint, by its key: of an external Service with several DNS hosts, for a request to one must not go to
   * another; and where the protocol is opaque, for captured bytes go where they were sent (a database's replica is not its primary).
   */
  readonly byEndpoint: ReadonlyMap<string, Cluster>;
  /** Where a wildcard is one of its hosts. */
  readonly below: HostsBelow | undefined;
  readonly members: Members;
  readonly traffic: Traffic;
}

interface Traffic extends Pick<
  Cluster,
  "settings" | "policy" | "servicePolicy"
> {
  readonly warnings: readonly string[];
}

const NO_CLUSTERS: ReadonlyMap<string, Cluster> = new Map();

/** What did not change is taken over from `before`: state hangs on the identity of clusters. */
export function* compilePorts(
  input: PortsInput,
  before: ServedPorts | undefined,
): Steps<ServedPorts> {
  const { service, policies, workloads, frame } = input;
  const alike = before?.frame === frame && before.service === service;
  const treated = alike && before.policies === policies;
  if (treated && before.workloads === workloads) return before;
  const known = new Map(
    before?.ports.map((served) => [served.port.port, served]),
  );
  const ports: ServedPort[] = [];
  for (const port of service.resource.spec.ports) {
    yield;
    const old = known.get(port.port);
    const traffic =
      treated && old !== undefined
        ? old.traffic
        : trafficFor(policies, service, port, frame);
    ports.push(yield* compilePort(input, port, traffic, old, alike));
  }
  return { ...input, ports };
}

/** `alike`: the Service itself and the frame are as they were. */
function* compilePort(
  { service, workloads, frame }: PortsInput,
  port: ServicePort,
  traffic: Traffic,
  old: ServedPort | undefined,
  alike: boolean,
): Steps<ServedPort> {
  const { spec } = service.resource;
  const external = isExternal(spec);
  const members = yield* membersOf(workloads, port, frame, old?.members, alike);
  const endpoints = external
    ? yield* externalEndpoints(
        service.resource,
        port,
        old?.cluster.endpoints ?? [],
      )
    : present(members.endpoints);
  const cluster = clusterOf(service, port, endpoints, traffic, old?.cluster);
  const byName = external && spec.resolution !== "STATIC";
  const below = byName
    ? hostsBelow(service, port, cluster, frame, old?.below)
    : undefined;
  const served = { port, cluster, below, members, traffic };
  const apart = byName
    ? endpoints.length > 1 || below !== undefined
    : isOpaque(port);
  if (!apart) return { ...served, byEndpoint: NO_CLUSTERS };
  const byEndpoint = new Map<string, Cluster>();
  for (const endpoint of endpoints) {
    yield;
    const { key } = endpoint;
    const one = old?.byEndpoint.get(key);
    byEndpoint.set(
      key,
      clusterOf(service, port, [endpoint], traffic, one, `@${key}`),
    );
  }
  return { ...served, byEndpoint };
}

/** What was made before serves on where it says the same. */
function hostsBelow(
  { resource }: HeldService,
  port: ServicePort,
  cluster: Cluster,
  { mesh }: Frame,
  before: HostsBelow | undefined,
): HostsBelow | undefined {
  const wildcards = wildcardsOf(resource.spec);
  if (wildcards.size === 0) return undefined;
  const common = { wildcards, port, cluster, reach: mesh.privateFetch };
  return before?.isFor(common) === true
    ? before
    : new HostsBelow(common, before);
}

function present(
  endpoints: readonly (Endpoint | undefined)[],
): readonly Endpoint[] {
  // Most often all have the port, and no copy is needed.
  return endpoints.every((endpoint) => endpoint !== undefined)
    ? endpoints
    : endpoints.filter((endpoint) => endpoint !== undefined);
}

/** The cluster of before where it says the same. */
function clusterOf(
  service: HeldService,
  port: ServicePort,
  endpoints: readonly Endpoint[],
  { settings, policy, servicePolicy }: Traffic,
  old: Cluster | undefined,
  suffix = "",
): Cluster {
  const appProtocol = appProtocolOf(port);
  const external = isExternal(service.resource.spec);
  if (
    old?.appProtocol === appProtocol &&
    old.external === external &&
    old.policy === policy &&
    old.servicePolicy === servicePolicy &&
    old.endpoints.length === endpoints.length &&
    old.endpoints.every((each, index) => each === endpoints[index]) &&
    (old.settings === settings ||
      JSON.stringify(old.settings) === JSON.stringify(settings))
  )
    return old;
  const { name } = service.resource.metadata;
  const namespace = namespaceOf(service.resource);
  const destination = serviceKey(name, namespace, port.port);
  return {
    key: `${destination}${suffix}`,
    destination,
    service: old?.service ?? { name, namespace },
    port: port.port,
    appProtocol,
    external,
    endpoints,
    settings,
    ...(policy === undefined ? {} : { policy }),
    ...(servicePolicy === undefined ? {} : { servicePolicy }),
  };
}

/** By what each is made of. */
const alone = new WeakMap<Endpoint, WeakMap<TrafficSettings, Cluster>>();

/** The cluster of one endpoint of a port, by the endpoint's key: made when it is asked for, since few are, and the same while it says the same. */
export function clusterAlone(
  {
    cluster,
    byEndpoint,
    below,
  }: Pick<ServedPort, "cluster" | "byEndpoint" | "below">,
  key: string,
): Cluster | undefined {
  const apart = byEndpoint.get(key) ?? below?.known(key);
  if (apart !== undefined) return apart;
  const endpoint = cluster.endpoints.find((each) => each.key === key);
  if (endpoint === undefined) return undefined;
  let made = alone.get(endpoint);
  if (made === undefined) alone.set(endpoint, (made = new WeakMap()));
  const old = made.get(cluster.settings);
  if (
    old?.destination === cluster.destination &&
    old.appProtocol === cluster.appProtocol &&
    old.policy === cluster.policy &&
    old.servicePolicy === cluster.servicePolicy
  )
    return old;
  const one = {
    ...cluster,
    key: `${cluster.destination}@${key}`,
    endpoints: [endpoint],
  };
  made.set(cluster.settings, one);
  return one;
}

/** Nothing is known of what is in the bytes, so no route applies to them. */
export function isOpaque(
  port: Pick<ServicePort, "port" | "targetPort" | "appProtocol">,
): boolean {
  const protocol = appProtocolOf(port);
  return protocol === "tcp" || protocol === "tls";
}

/** The oldest policy wins as a whole object (trap 13); that of a port replaces blocks of that of the Service (trap 14). */
function trafficFor(
  policies: readonly HeldTrafficPolicy[],
  service: HeldService,
  port: ServicePort,
  { mesh }: Frame,
): Traffic {
  const { name } = service.resource.metadata;
  const aimed = (section: string | undefined): HeldTrafficPolicy[] =>
    policies.filter(({ resource }) =>
      resource.spec.targetRefs.some(
        (ref) => ref.name === name && ref.sectionName === section,
      ),
    );
  const general = aimed(undefined);
  const own = port.name === undefined ? [] : aimed(port.name);
  const warnings = [general, own].flatMap(([winner, ...losers]) =>
    losers.map(
      (loser) =>
        `TrafficPolicy ${loser.name} is not in force for Service ${service.name}: ${winner?.name ?? "another"} is older`,
    ),
  );
  const settings = trafficSettings(
    general[0]?.resource.spec,
    own[0]?.resource.spec,
    mesh,
  );
  const policy = (own[0] ?? general[0])?.name;
  const servicePolicy = own[0] === undefined ? undefined : general[0]?.name;
  const { priority } = settings;
  return {
    settings:
      priority === undefined
        ? settings
        : {
            ...settings,
            priority: priorityMeant(priority, trustDomainsOf(mesh)),
          },
    warnings,
    ...(policy === undefined ? {} : { policy }),
    ...(servicePolicy === undefined ? {} : { servicePolicy }),
  };
}
