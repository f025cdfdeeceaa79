/** The resources of a scripted control plane, and which of them each subscription needs. */
import { lookup, pushedResource } from "../../../src/push/codec.ts";
import { lookupVersion, parseInterest } from "../../../src/push/interest.ts";
import type { DeltaResource } from "../../../src/push/messages.ts";
import {
  LOOKUP_TYPE,
  RESOURCE_TYPE,
  resourceName,
} from "../../../src/push/names.ts";
import {
  keyOf,
  selects,
  type Resource,
} from "../../../src/resources/envelope.ts";
import { TRUST_DOMAIN } from "./push-control-plane.ts";

export type Labels = Readonly<Record<string, string>>;

/** The resources, and what of them each interest needs: as plainly as it can be said, looking at all of them each time. */
export class ScriptedWorld {
  readonly #resources = new Map<string, Resource>();
  revision = 0;

  change(change: Resource | string): void {
    this.revision += 1;
    if (typeof change === "string") {
      this.#resources.delete(change.slice(1));
      return;
    }
    this.#resources.set(resourceName(keyOf(change)), {
      ...change,
      metadata: {
        ...change.metadata,
        resourceVersion: String(this.revision),
      },
    });
  }

  setFor(
    subscribed: ReadonlySet<string>,
    self: { readonly namespace: string; readonly labels: Labels },
  ): Map<string, DeltaResource> {
    const services = new Set<string>();
    const set = new Map<string, DeltaResource>();
    for (const name of subscribed) {
      const interest = parseInterest(name);
      if (interest?.kind === "service")
        services.add(`${interest.namespace}/${interest.name}`);
      if (interest?.kind !== "host" && interest?.kind !== "address") continue;
      const found =
        interest.kind === "host"
          ? this.#byHost(interest.host, self.namespace)
          : this.#byAddress(interest.address, interest.port);
      for (const service of found) services.add(service);
      set.set(name, {
        name,
        version: lookupVersion(found),
        typeUrl: LOOKUP_TYPE,
        value: lookup.encode({ services: found }),
      });
    }
    // A Set is read on while it grows: what a Service leads to is added as it is found.
    for (const service of services)
      for (const backend of this.#backendsOf(service)) services.add(backend);
    for (const resource of this.#resources.values())
      if (
        subscribed.has("*") ||
        this.#isWanted(resource, services, self.namespace, self.labels)
      ) {
        const pushed = asPushed(resource);
        set.set(pushed.name, pushed);
      }
    return set;
  }

  #isWanted(
    resource: Resource,
    services: ReadonlySet<string>,
    namespace: string,
    labels: Labels,
  ): boolean {
    const { kind, metadata } = resource;
    const name = `${metadata.namespace ?? ""}/${metadata.name}`;
    if (kind === "Service")
      return (
        services.has(name) ||
        (metadata.namespace === namespace &&
          selects(selectorOf(resource), labels))
      );
    if (kind === "Workload")
      return [...services].some((service) => {
        const found = this.#resources.get(`Service/${service}`);
        return (
          found !== undefined &&
          found.metadata.namespace === metadata.namespace &&
          selects(selectorOf(found), metadata.labels)
        );
      });
    if (kind === "HTTPRoute" || kind === "TrafficPolicy")
      return parentsOf(resource).some((parent) => services.has(parent));
    return true;
  }

  #byHost(host: string, caller: string): string[] {
    const found: string[] = [];
    for (const { kind, metadata, spec } of this.#resources.values()) {
      if (kind !== "Service") continue;
      const { name, namespace = "" } = metadata;
      const names = [
        `${name}.${namespace}`,
        `${name}.${namespace}.svc`,
        `${name}.${namespace}.svc.${TRUST_DOMAIN}`,
        ...(namespace === caller ? [name] : []),
        ...((spec as { hosts?: string[] }).hosts ?? []),
      ];
      if (names.includes(host)) found.push(`${namespace}/${name}`);
    }
    return found.sort();
  }

  #byAddress(address: string, port: number): string[] {
    const found: string[] = [];
    for (const { kind, metadata, spec } of this.#resources.values()) {
      if (kind !== "Workload") continue;
      const workload = spec as {
        address: string;
        ports?: Record<string, number>;
      };
      if (
        workload.address !== address ||
        !Object.values(workload.ports ?? {}).includes(port)
      )
        continue;
      for (const service of this.#resources.values())
        if (
          service.kind === "Service" &&
          service.metadata.namespace === metadata.namespace &&
          selects(selectorOf(service), metadata.labels)
        )
          found.push(
            `${service.metadata.namespace ?? ""}/${service.metadata.name}`,
          );
    }
    return [...new Set(found)].sort();
  }

  #backendsOf(service: string): string[] {
    const found: string[] = [];
    for (const resource of this.#resources.values()) {
      if (
        resource.kind !== "HTTPRoute" ||
        !parentsOf(resource).includes(service)
      )
        continue;
      const { rules = [] } = resource.spec as { rules?: Rule[] };
      for (const { backendRefs = [], filters = [] } of rules)
        for (const ref of [
          ...backendRefs,
          ...filters.flatMap(({ requestMirror }) =>
            requestMirror === undefined ? [] : [requestMirror.backendRef],
          ),
        ])
          found.push(
            `${ref.namespace ?? resource.metadata.namespace ?? ""}/${ref.name}`,
          );
    }
    return found;
  }
}

interface Ref {
  readonly name: string;
  readonly namespace?: string;
}

interface Rule {
  readonly backendRefs?: Ref[];
  readonly filters?: {
    readonly requestMirror?: { readonly backendRef: Ref };
  }[];
}

function selectorOf({ spec }: Resource): Labels {
  return (spec as { selector?: Labels }).selector ?? {};
}

/** "NAMESPACE/NAME" of the Services that a route or a policy is for. */
function parentsOf({ metadata, spec }: Resource): string[] {
  const { parentRefs = [], targetRefs = [] } = spec as {
    parentRefs?: Ref[];
    targetRefs?: Ref[];
  };
  return [...parentRefs, ...targetRefs].map(
    ({ name, namespace = metadata.namespace ?? "" }) => `${namespace}/${name}`,
  );
}

function asPushed(resource: Resource): DeltaResource {
  const key = keyOf(resource);
  const json = Buffer.from(JSON.stringify(resource));
  return {
    name: resourceName(key),
    version: resource.metadata.resourceVersion ?? "",
    typeUrl: RESOURCE_TYPE,
    value: pushedResource.encode({ ...key, json }),
  };
}
