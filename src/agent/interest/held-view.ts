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
  const { held, leads } = graphOf(resources);
  const why = new Map<string, string>();
  const give = (services: Iterable<string>, reason: string): void => {
    for (const service of services)
      if (!why.has(service)) why.set(service, reason);
  };
  const follow = (): void => {
    // A Map is read on while it grows: what a Service leads to leads on itself.
    for (const service of why.keys())
      give(leads.get(service) ?? [], `with ${service}`);
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
    if (why.get(service) === "self") leads.delete(service);
  const ledTo = new Set([...leads.values()].flat());
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

/** The Services, sorted, and from each to those that are held because it is: its routes lead there, or they claim one of its hosts. */
function graphOf(resources: ReceivedResources): {
  readonly held: readonly string[];
  readonly leads: Map<string, readonly string[]>;
} {
  const held: string[] = [];
  const leads = new Map<string, string[]>();
  const byHost = new Map<string, string[]>();
  const add = (to: Map<string, string[]>, key: string, value: string): void => {
    const values = to.get(key);
    if (values === undefined) to.set(key, [value]);
    else values.push(value);
  };
  for (const { resource } of resources.values()) {
    if (isKind(SERVICE, resource)) {
      const name = nameOf(resource, resource.metadata);
      held.push(name);
      for (const host of resource.spec.hosts ?? []) add(byHost, host, name);
    }
    for (const [parent, backend] of legsOf(resource))
      add(leads, parent, backend);
  }
  for (const claimants of byHost.values())
    for (const one of claimants)
      for (const other of claimants) if (one !== other) add(leads, one, other);
  return { held: held.sort(), leads };
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
