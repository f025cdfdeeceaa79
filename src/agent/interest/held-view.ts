/** What a sidecar holds of the mesh, and why: for its pages. */
import { formatName, type Resource } from "../../resources/envelope.ts";
import { GRPC_ROUTE } from "../../resources/grpc-route/schema.ts";
import { HTTP_ROUTE } from "../../resources/http-route/schema.ts";
import { isKind } from "../../resources/kind.ts";
import { SERVICE } from "../../resources/service/schema.ts";
import type { ReceivedResources } from "../staging.ts";

export interface HeldService {
  /** "NAMESPACE/NAME" */
  readonly service: string;
  /**
   * `self`: it selects this workload; `declared`: at start; `used`: it was called; `asked`: a question led to it; "with
   * NAMESPACE/NAME": a route of that Service leads to it, or both claim a host; `learned`: others of the service account use it.
   */
  readonly why: string;
  /** Minutes since its last call, where it is in use. */
  readonly idleMinutes?: number;
}

export interface HeldQuestion {
  readonly question: string;
  /** Empty: there is nothing in the mesh. Absent: it is not resolved yet. */
  readonly services?: readonly string[];
  /** Minutes since it was of use. */
  readonly idleMinutes: number;
}

export interface HeldView {
  readonly services: readonly HeldService[];
  readonly questions: readonly HeldQuestion[];
}

export interface HeldParts {
  readonly resources: ReceivedResources;
  readonly own: ReadonlySet<string>;
  /** Minutes since the last call of each Service in use; undefined of one that was declared. */
  readonly uses: ReadonlyMap<string, number | undefined>;
  readonly questions: readonly HeldQuestion[];
}

export function heldView(parts: HeldParts): HeldView {
  const { resources, own, uses, questions } = parts;
  const { held, leads, hosts, claimants } = graphOf(resources);
  const why = new Map<string, string>();
  /** Those that have a reason and were not followed yet. */
  const fresh: string[] = [];
  let followed = 0;
  const give = (services: Iterable<string>, reason: string): void => {
    for (const service of services) {
      if (why.has(service)) continue;
      why.set(service, reason);
      fresh.push(service);
    }
  };
  const follow = (): void => {
    // What a Service leads to leads on itself.
    for (; followed < fresh.length; followed += 1) {
      const service = fresh[followed] ?? "";
      give(leads.get(service) ?? [], `with ${service}`);
      for (const host of hosts.get(service) ?? []) {
        give(claimants.get(host) ?? [], `with ${service}`);
        // All of them have a reason now.
        claimants.delete(host);
      }
    }
  };
  for (const [service, minutes] of uses)
    give([service], minutes === undefined ? "declared" : "used");
  give(
    questions.flatMap(({ services = [] }) => services),
    "asked",
  );
  follow();
  give(own, "self");
  // What is held for the workload itself comes without what its routes lead to.
  for (const service of own)
    if (why.get(service) === "self") {
      leads.delete(service);
      hosts.delete(service);
    }
  const ledTo = new Set([...leads.values()].flat());
  for (const services of claimants.values()) {
    const leading = services.filter((service) => hosts.has(service));
    if (leading.length > 1) for (const service of leading) ledTo.add(service);
  }
  const rest = held.filter((service) => !why.has(service));
  give(
    rest.filter((service) => !ledTo.has(service)),
    "learned",
  );
  follow();
  // Those that lead to each other.
  for (const service of rest) {
    give([service], "learned");
    follow();
  }
  return {
    services: held.map((service) => {
      const idleMinutes = uses.get(service);
      return {
        service,
        why: why.get(service) ?? "learned",
        ...(idleMinutes === undefined ? {} : { idleMinutes }),
      };
    }),
    questions,
  };
}

/** The Services, sorted, and from each to those that are held because it is: its routes lead there (`leads`), or they claim one of its hosts. */
function graphOf(resources: ReceivedResources): {
  readonly held: readonly string[];
  readonly leads: Map<string, readonly string[]>;
  /** Hosts of each Service that claims some. */
  readonly hosts: Map<string, readonly string[]>;
  /** Services by the hosts that they claim. */
  readonly claimants: Map<string, readonly string[]>;
} {
  const held: string[] = [];
  const leads = new Map<string, string[]>();
  const hosts = new Map<string, string[]>();
  const claimants = new Map<string, string[]>();
  const add = (to: Map<string, string[]>, key: string, value: string): void => {
    const values = to.get(key);
    if (values === undefined) to.set(key, [value]);
    else values.push(value);
  };
  for (const { resource } of resources.values()) {
    if (isKind(SERVICE, resource)) {
      const name = nameOf(resource, resource.metadata);
      held.push(name);
      for (const host of resource.spec.hosts ?? []) add(claimants, host, name);
    }
    for (const [parent, backend] of legsOf(resource))
      add(leads, parent, backend);
  }
  for (const [host, services] of claimants)
    for (const service of services) add(hosts, service, host);
  return { held: held.sort(), leads, hosts, claimants };
}

/** Each Service that a route is for, with each that it leads to. */
function* legsOf(
  resource: Resource,
): Generator<readonly [parent: string, backend: string]> {
  if (!isKind(HTTP_ROUTE, resource) && !isKind(GRPC_ROUTE, resource)) return;
  for (const { backendRefs = [], filters = [] } of resource.spec.rules)
    for (const backend of [
      ...backendRefs,
      ...filters.flatMap(({ requestMirror }) =>
        requestMirror === undefined ? [] : [requestMirror.backendRef],
      ),
    ])
      for (const parent of resource.spec.parentRefs)
        yield [nameOf(resource, parent), nameOf(resource, backend)];
}

/** "NAMESPACE/NAME" of what the resource names: in its own namespace where none is said. */
function nameOf(
  { metadata }: Resource,
  ref: { readonly namespace?: string | undefined; readonly name: string },
): string {
  return formatName(ref.namespace ?? metadata.namespace ?? "", ref.name);
}
