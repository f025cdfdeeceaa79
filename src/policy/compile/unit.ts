/** One Service that callers here may use, compiled: the destinations that its ports are. Each part is made anew only of what changed. */
import type { Steps } from "../../core/slices.ts";
import type { Cluster, Destination } from "../snapshot.ts";
import {
  bindRoutes,
  narrowed,
  unroutedTo,
  type BoundRoutes,
  type ClusterOf,
  type Route,
} from "./binding.ts";
import { clusterAlone, type ServedPort, type ServedPorts } from "./clusters.ts";
import { compileFaults, type ServedFaults } from "./faults.ts";
import type { Frame } from "./frame.ts";
import type { HeldFault, HeldRoute } from "./held/held.ts";
import { compileRoutes, type ServedRoutes } from "./routes.ts";

export interface Unit {
  readonly served: ServedPorts;
  readonly routes: ServedRoutes;
  readonly faults: ServedFaults;
  /** In the order of the Service's ports. */
  readonly targets: readonly Target[];
}

/** One port. */
export interface Target {
  readonly frame: Frame;
  readonly bound: BoundRoutes;
  readonly destination: Destination;
  /** By the key of the one endpoint to which it leads. */
  readonly byEndpoint: ReadonlyMap<string, Destination>;
}

export interface UnitInput {
  readonly served: ServedPorts;
  /** Those that name the Service. */
  readonly routes: readonly HeldRoute[];
  readonly faults: readonly HeldFault[];
}

const NONE: Target["byEndpoint"] = new Map();

/** Adds to `problems` what cannot be compiled. */
export function* compileUnit(
  { served, ...named }: UnitInput,
  clusterOf: ClusterOf,
  before: Unit | undefined,
  problems: string[],
): Steps<Unit> {
  const { frame, service } = served;
  const routes = compileRoutes(
    { frame, service, routes: named.routes },
    before?.routes,
    problems,
  );
  const faults = compileFaults(
    { frame, service, faults: named.faults },
    before?.faults,
  );
  const known = new Map(
    before?.targets.map((target) => [target.destination.port.port, target]),
  );
  const targets: Target[] = [];
  for (const [index, port] of served.ports.entries()) {
    yield;
    const routing = routes.ports[index];
    if (routing === undefined) continue;
    const old = known.get(port.port.port);
    const bound = bindRoutes(routing, clusterOf, old?.bound);
    targets.push(yield* targetOf(frame, port, bound, faults.ports[index], old));
  }
  return { served, routes, faults, targets };
}

function* targetOf(
  frame: Frame,
  { port, cluster, byEndpoint }: ServedPort,
  bound: BoundRoutes,
  faults: Destination["faults"],
  old: Target | undefined,
): Steps<Target> {
  const same =
    old?.frame === frame &&
    old.bound === bound &&
    old.destination.port === port &&
    isSame(old.destination.faults, faults);
  const make = (
    own: ServedPort["cluster"],
    before: Destination | undefined,
  ): Destination =>
    same && before?.cluster === own
      ? before
      : {
          key: own.key,
          service: own.service,
          port,
          ...routeTo(own, cluster, frame, bound),
          faults,
          cluster: own,
        };
  const destination = make(cluster, old?.destination);
  if (byEndpoint.size === 0)
    return { frame, bound, destination, byEndpoint: NONE };
  const byKey = new Map<string, Destination>();
  for (const [key, own] of byEndpoint) {
    yield;
    byKey.set(key, make(own, old?.byEndpoint.get(key)));
  }
  return { frame, bound, destination, byEndpoint: byKey };
}

/** A call for one host of several goes to that host, whatever routes the Service has. */
function routeTo(
  one: Cluster,
  whole: Cluster,
  frame: Frame,
  { route, routes }: BoundRoutes,
): Route {
  if (route === undefined) return unroutedTo(one, frame, routes.passedOver);
  return one === whole ? route : narrowed(route, whole, one);
}

const alone = new WeakMap<Target, Map<string, Destination>>();

/** One endpoint of a port, called by its own address: as the Service has it treated, past its routes, which may lead elsewhere. Made when it is called. */
export function instanceOf(
  { served, targets }: Unit,
  port: number,
  endpoint: string,
): Destination | undefined {
  const target = targets[port];
  const ports = served.ports[port];
  if (target === undefined || ports === undefined) return undefined;
  const apart = target.byEndpoint.get(endpoint);
  if (apart !== undefined) return apart;
  let made = alone.get(target);
  if (made === undefined)
    alone.set(target, (made = new Map<string, Destination>()));
  const known = made.get(endpoint);
  if (known !== undefined) return known;
  const cluster = clusterAlone(ports, endpoint);
  if (cluster === undefined) return undefined;
  const { frame, bound, destination } = target;
  const instance: Destination = {
    ...destination,
    key: cluster.key,
    ...unroutedTo(cluster, frame, bound.routes.passedOver),
    cluster,
  };
  made.set(endpoint, instance);
  return instance;
}

const below = new WeakMap<Target, WeakMap<Cluster, Destination>>();

/** A host below a wildcard of the Service, on the port of that index: as the Service has it treated, and never another host. */
export function belowWildcard(
  { served, targets }: Unit,
  index: number,
  host: string,
): Destination | undefined {
  const target = targets[index];
  const number = target?.destination.port.port;
  const hosts = served.ports.find(({ port }) => port.port === number)?.below;
  if (target === undefined || hosts === undefined) return undefined;
  const cluster = hosts.of(host);
  let made = below.get(target);
  if (made === undefined) below.set(target, (made = new WeakMap()));
  const known = made.get(cluster);
  if (known !== undefined) return known;
  const { frame, bound, destination } = target;
  const one: Destination = {
    ...destination,
    key: cluster.key,
    ...routeTo(cluster, destination.cluster, frame, bound),
    cluster,
  };
  made.set(cluster, one);
  return one;
}

function isSame(
  left: Destination["faults"] = [],
  right: Destination["faults"] = [],
): boolean {
  return (
    left.length === right.length &&
    left.every((each, index) => each === right[index])
  );
}
