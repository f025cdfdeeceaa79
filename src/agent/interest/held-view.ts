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
   * NAMESPACE/NAME": a route of that Service leads to it; `learned`: others of the service account use it.
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
  const held: string[] = [];
  const leads = new Map<string, string[]>();
  for (const { resource } of resources.values()) {
    if (isKind(SERVICE, resource))
      held.push(nameOf(resource, resource.metadata));
    for (const [parent, backend] of legsOf(resource))
      leads.set(parent, [...(leads.get(parent) ?? []), backend]);
  }
  const why = new Map<string, string>();
  const give = (services: Iterable<string>, reason: string): void => {
    for (const service of services)
      if (!why.has(service)) why.set(service, reason);
  };
  for (const [service, minutes] of uses)
    give([service], minutes === undefined ? "declared" : "used");
  give(
    questions.flatMap(({ services = [] }) => services),
    "asked",
  );
  // A Map is read on while it grows: what a Service leads to leads on itself.
  for (const service of why.keys())
    give(leads.get(service) ?? [], `with ${service}`);
  give(own, "self");
  return {
    services: held.sort().map((service) => {
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
