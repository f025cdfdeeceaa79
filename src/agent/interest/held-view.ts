/** What a sidecar holds of the mesh, and why: for its pages. */
import { wildcardsOver } from "../../core/text/wildcards.ts";
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
   * NAMESPACE/NAME": a route of that Service leads to it, or both claim a host; `leaving`: nothing needs it any more, and the next push takes it.
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

export function heldView({
  resources,
  own,
  uses,
  questions,
}: HeldParts): HeldView {
  const graph = graphOf(resources);
  const reasons = new Reasons(graph);
  for (const [service, minutes] of uses)
    reasons.give([service], minutes === undefined ? "declared" : "used");
  reasons.give(
    questions.flatMap(({ services = [] }) => services),
    "asked",
  );
  reasons.follow();
  reasons.giveOwn(own);
  return {
    services: graph.held.map((service) => {
      const idleMinutes = uses.get(service);
      return {
        service,
        why: reasons.of(service) ?? "leaving",
        ...(idleMinutes === undefined ? {} : { idleMinutes }),
      };
    }),
    questions,
  };
}

/** Why each Service is held. The first reason stays, and passes on to what the Service leads to. */
class Reasons {
  readonly #graph: HeldGraph;
  readonly #reasons = new Map<string, string>();
  /** Services in the order in which they got a reason; the first ones, so many, were followed. */
  readonly #order: string[] = [];
  #followed = 0;

  constructor(graph: HeldGraph) {
    this.#graph = graph;
  }

  of(service: string): string | undefined {
    return this.#reasons.get(service);
  }

  give(services: Iterable<string>, reason: string): void {
    for (const service of services) {
      if (this.#reasons.has(service)) continue;
      this.#reasons.set(service, reason);
      this.#order.push(service);
    }
  }

  /** What a Service leads to leads on itself. */
  follow(): void {
    const { leads, hosts, claimants } = this.#graph;
    for (; this.#followed < this.#order.length; this.#followed += 1) {
      const service = this.#order[this.#followed] ?? "";
      this.give(leads.get(service) ?? [], `with ${service}`);
      for (const host of hosts.get(service) ?? []) {
        this.give(claimants.get(host) ?? [], `with ${service}`);
        // All of them have a reason now.
        claimants.delete(host);
      }
    }
  }

  /** What is held for the workload itself comes without what its routes lead to. */
  giveOwn(own: ReadonlySet<string>): void {
    this.give(own, "self");
    for (const service of own)
      if (this.of(service) === "self") {
        this.#graph.leads.delete(service);
        this.#graph.hosts.delete(service);
      }
  }
}

interface HeldGraph {
  /** The Services, sorted. */
  readonly held: readonly string[];
  /** From each to those to which its routes lead. */
  readonly leads: Map<string, readonly string[]>;
  /** Hosts of each Service that claims some. */
  readonly hosts: Map<string, readonly string[]>;
  /** Services by the hosts that they claim. */
  readonly claimants: Map<string, readonly string[]>;
}

/** From each Service to those that are held because it is: its routes lead there, or they claim one of its hosts. */
function graphOf(resources: ReceivedResources): HeldGraph {
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
  // A wildcard is claimed by those that claim what it takes in.
  for (const [host, services] of [...claimants])
    for (const wildcard of wildcardsOver(host))
      if (claimants.has(wildcard))
        for (const service of services) add(claimants, wildcard, service);
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
