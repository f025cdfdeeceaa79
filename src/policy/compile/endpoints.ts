/** Workloads, or the addresses of an external Service → the endpoints of one port. */
import type { Steps } from "../../core/slices.ts";
import { isWildcard } from "../../core/text/wildcards.ts";
import { formatHostPort } from "../../core/text/host-port.ts";
import { formatSpiffeId } from "../../identity/spiffe.ts";
import {
  targetPortOf,
  type ServicePort,
  type ServiceResource,
} from "../../resources/service/schema.ts";
import {
  applicationPort,
  isUnconfirmed,
  unreadyPort,
  workloadSettings,
} from "../../resources/workload/schema.ts";
import type { Endpoint } from "../snapshot.ts";
import type { Frame } from "./frame.ts";
import { namespaceOf, type HeldWorkload } from "./held/held.ts";

/** The Workloads of a Service and, in the same order, what each is for one port: undefined where it does not have it. */
export interface Members {
  readonly workloads: readonly HeldWorkload[];
  readonly endpoints: readonly (Endpoint | undefined)[];
}

/**
 * Where `alike` (the port and the frame are as before), those of the same Workloads are taken over unseen. The rest are made, and are
 * the objects of before where they say the same: state hangs on identity.
 */
export function* membersOf(
  workloads: readonly HeldWorkload[],
  port: ServicePort,
  frame: Frame,
  before: Members | undefined,
  alike: boolean,
): Steps<Members> {
  const old = before ?? { workloads: [], endpoints: [] };
  const { head, tail } = alike
    ? inCommon(old.workloads, workloads)
    : { head: 0, tail: 0 };
  const stop = old.workloads.length - tail;
  const known = yield* byKey(old.endpoints.slice(head, stop));
  const made: (Endpoint | undefined)[] = [];
  for (const workload of workloads.slice(head, workloads.length - tail)) {
    yield;
    const endpoint = endpointOf(workload, port, frame);
    made.push(endpoint && sameOr(known.get(endpoint.key), endpoint));
  }
  return {
    workloads,
    endpoints: [
      ...old.endpoints.slice(0, head),
      ...made,
      ...old.endpoints.slice(stop),
    ],
  };
}

/** How many of two lists are the same at their beginning and at their end. */
export function inCommon<T>(
  left: readonly T[],
  right: readonly T[],
): { readonly head: number; readonly tail: number } {
  const most = Math.min(left.length, right.length);
  let head = 0;
  while (head < most && left[head] === right[head]) head += 1;
  let tail = 0;
  while (
    tail < most - head &&
    left[left.length - 1 - tail] === right[right.length - 1 - tail]
  )
    tail += 1;
  return { head, tail };
}

function endpointOf(
  { resource, name }: HeldWorkload,
  port: ServicePort,
  { mesh, locality }: Frame,
): Endpoint | undefined {
  const application = applicationPort(resource.spec, port);
  if (application === undefined) return undefined;
  const settings = workloadSettings(resource.spec);
  const unready = unreadyPort(resource.spec, application);
  return {
    key: `${name}:${application}`,
    workload: name,
    address: settings.address,
    port: application,
    link: settings.link?.port,
    identity:
      settings.link === undefined
        ? undefined
        : formatSpiffeId({
            trustDomain: mesh.trustDomain,
            namespace: namespaceOf(resource),
            serviceAccount: settings.serviceAccount,
          }),
    weight: settings.weight,
    locality: settings.locality,
    distance: distance(locality, settings.locality),
    ready: settings.ready && unready === undefined,
    ...(unready === undefined ? {} : { unready }),
    ...(isUnconfirmed(resource) ? { unconfirmed: true } : {}),
  };
}

/** 3 for another region, 2 for another zone, 1 for another subzone than one's own; what the caller does not say of itself makes no difference. */
function distance(own: string, other: string): number {
  if (own === "") return 0;
  const parts = other.split("/");
  const differs = own
    .split("/")
    .findIndex((part, index) => part !== parts[index]);
  return differs < 0 ? 0 : 3 - differs;
}

/** Those that are known beforehand: hosts below a wildcard come to be when they are called. */
export function* externalEndpoints(
  { spec }: ServiceResource,
  port: ServicePort,
  before: readonly Endpoint[],
): Steps<readonly Endpoint[]> {
  const fixed = spec.resolution === "STATIC";
  const [host] = spec.hosts ?? [];
  const addresses = fixed
    ? (spec.endpoints ?? []).map(({ address }) => address)
    : (spec.hosts ?? []).filter((each) => !isWildcard(each));
  const known = yield* byKey(before);
  const endpoints: Endpoint[] = [];
  for (const address of addresses) {
    yield;
    const endpoint = {
      ...externalEndpoint(address, port),
      ...(fixed && host !== undefined ? { host } : {}),
    };
    endpoints.push(sameOr(known.get(endpoint.key), endpoint));
  }
  return endpoints;
}

/** One to which a name or an address outside leads. */
export function externalEndpoint(address: string, port: ServicePort): Endpoint {
  return {
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
  };
}

/** Key of an external Service's endpoint. */
export function externalKey(address: string, port: ServicePort): string {
  return formatHostPort(address, targetPortOf(port));
}

function* byKey(
  endpoints: readonly (Endpoint | undefined)[],
): Steps<ReadonlyMap<string, Endpoint>> {
  const known = new Map<string, Endpoint>();
  for (const endpoint of endpoints) {
    yield;
    if (endpoint !== undefined) known.set(endpoint.key, endpoint);
  }
  return known;
}

function sameOr(old: Endpoint | undefined, endpoint: Endpoint): Endpoint {
  return old !== undefined &&
    old.address === endpoint.address &&
    old.host === endpoint.host &&
    old.port === endpoint.port &&
    old.link === endpoint.link &&
    old.identity === endpoint.identity &&
    old.weight === endpoint.weight &&
    old.locality === endpoint.locality &&
    old.distance === endpoint.distance &&
    old.ready === endpoint.ready &&
    old.unready === endpoint.unready &&
    old.unconfirmed === endpoint.unconfirmed
    ? old
    : endpoint;
}
