/** Which resources a change can alter the verdicts of, and beside which others these are judged: most of a mesh is far from a change. */
import type { Steps } from "../../core/slices.ts";
import { comparableAddress } from "../../core/text/network.ts";
import { AUTHORIZATION_POLICY } from "../authorization-policy/schema.ts";
import type { Resource, ResourceKey } from "../envelope.ts";
import { FAULT_INJECTION } from "../fault-injection/schema.ts";
import { isKind } from "../kind.ts";
import { MESH } from "../mesh/schema.ts";
import {
  accountOf,
  isRegistered,
  placesOf,
} from "../ownership/address-owners.ts";
import { PEER_AUTHENTICATION } from "../peer-authentication/schema.ts";
import { REQUEST_AUTHENTICATION } from "../request-authentication/schema.ts";
import { isExternal, SERVICE } from "../service/schema.ts";
import { TELEMETRY } from "../telemetry/schema.ts";
import { TRAFFIC_POLICY } from "../traffic-policy/schema.ts";
import { WORKLOAD, type WorkloadResource } from "../workload/schema.ts";
import type { Lookup } from "./references.ts";
import { isRoute, pathOf, servicesLedTo, servicesNamed } from "./relations.ts";

/** At least one of the two. */
export interface ResourceChange {
  readonly before: Resource | undefined;
  readonly after: Resource | undefined;
}

export interface Concerned {
  /** What is said of these may be another now. */
  readonly about: ReadonlySet<Resource>;
  /** These and the ones beside which they are judged. */
  readonly all: readonly Resource[];
}

/** Resources that are looked at in one step. */
const STEP = 256;

/** `resources` are all that there are after the change. Undefined: anything may be concerned. */
export function* concernedBy(
  changes: readonly ResourceChange[],
  resources: Iterable<Resource>,
  lookup: Lookup,
): Steps<Concerned | undefined> {
  const spread = new Spread();
  for (const { before, after } of changes) {
    yield;
    if (!spread.add(before, after)) return undefined;
  }
  let count = 0;
  for (const resource of resources) {
    count += 1;
    if (count % STEP === 0) yield;
    if (spread.isBeyond(resource)) return undefined;
    if (spread.reaches(resource)) spread.about.add(resource);
  }
  const all = new Set<Resource>(spread.about);
  const places = new Set([...spread.about].flatMap(meetingPlacesOf));
  for (const path of places) {
    yield;
    const service = lookup(serviceKey(path));
    if (service !== undefined) all.add(service);
  }
  if (places.size > 0)
    for (const resource of resources) {
      count += 1;
      if (count % STEP === 0) yield;
      if (meets(resource, places)) all.add(resource);
    }
  return { about: spread.about, all: [...all] };
}

/** How far changes reach. */
class Spread {
  readonly about = new Set<Resource>();
  /** Changed Services, by path. */
  readonly #services = new Set<string>();
  /** Services at which changed routes and policies meet others, by path. */
  readonly #meetings = new Set<string>();
  /** Addresses of changed Workloads. */
  readonly #addresses = new Set<string>();

  /** False: it may reach everything. */
  add(before: Resource | undefined, after: Resource | undefined): boolean {
    const both = [before, after].filter((each) => each !== undefined);
    if (both.some((each) => isKind(MESH, each) || reachesAll(each)))
      return false;
    if (isQuiet(before, after)) return true;
    if (after !== undefined) this.about.add(after);
    for (const each of both) {
      for (const path of meetingPlacesOf(each)) this.#meetings.add(path);
      if (isKind(SERVICE, each)) this.#services.add(pathOf(each));
      if (isKind(WORKLOAD, each)) this.#addresses.add(addressOf(each));
    }
    return true;
  }

  /** A changed Service or Workload may change what is said of the resource, in ways that are not followed here. */
  isBeyond(resource: Resource): boolean {
    return (
      this.#services.size + this.#addresses.size > 0 && reachesAll(resource)
    );
  }

  reaches(resource: Resource): boolean {
    // What is said of it may change with time alone.
    if (isKind(FAULT_INJECTION, resource)) return true;
    if (isKind(WORKLOAD, resource))
      return (
        this.#addresses.size > 0 && this.#addresses.has(addressOf(resource))
      );
    if (meets(resource, this.#meetings)) return true;
    if (this.#services.size === 0) return false;
    return (
      meets(resource, this.#services) ||
      (isRoute(resource) &&
        servicesLedTo(resource).some((path) => this.#services.has(path)))
    );
  }
}

/** Policies whose selectors may select anything, and Services whose hosts and addresses others may have. */
function reachesAll(resource: Resource): boolean {
  return isKind(SERVICE, resource)
    ? isExternal(resource.spec)
    : isKind(AUTHORIZATION_POLICY, resource) ||
        isKind(PEER_AUTHENTICATION, resource) ||
        isKind(REQUEST_AUTHENTICATION, resource) ||
        isKind(TELEMETRY, resource);
}

/** Whether nothing follows from it for what is said of resources: readiness and weight, which change all the time. */
function isQuiet(
  before: Resource | undefined,
  after: Resource | undefined,
): boolean {
  return (
    before !== undefined &&
    after !== undefined &&
    isKind(WORKLOAD, before) &&
    isKind(WORKLOAD, after) &&
    standingOf(before) === standingOf(after)
  );
}

function standingOf(workload: WorkloadResource): string {
  const { labels, creationTimestamp } = workload.metadata;
  return JSON.stringify([
    ...[labels, creationTimestamp, isRegistered(workload)],
    ...[accountOf(workload), placesOf(workload), workload.spec.ports],
  ]);
}

/** Paths of the Services at which it may be in the way of another. */
function meetingPlacesOf(resource: Resource): readonly string[] {
  return isRoute(resource) || isKind(TRAFFIC_POLICY, resource)
    ? servicesNamed(resource)
    : [];
}

function meets(resource: Resource, places: ReadonlySet<string>): boolean {
  return (
    places.size > 0 &&
    meetingPlacesOf(resource).some((path) => places.has(path))
  );
}

function addressOf({ spec: { address } }: WorkloadResource): string {
  return comparableAddress(address);
}

function serviceKey(path: string): ResourceKey {
  const slash = path.indexOf("/");
  return {
    kind: SERVICE.kind,
    namespace: path.slice(0, slash),
    name: path.slice(slash + 1),
  };
}
