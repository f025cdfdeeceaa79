/** What policies of one namespace, or of the whole mesh, may select there: found once for all that select the same. */
import {
  targetPortOf,
  type ServicePort,
  type ServiceResource,
} from "../service/schema.ts";
import { applicationPort, type WorkloadResource } from "../workload/schema.ts";
import { pathOf } from "./relations.ts";

type Labels = Readonly<Record<string, string>>;

/** What a namespace has in it. */
export interface Inhabitants {
  /** Those of the mesh itself. */
  services(): Iterable<ServiceResource>;
  /** Those that have the labels; all where none are asked for. */
  workloads(labels: Labels | undefined): Iterable<WorkloadResource>;
}

export class Grounds {
  readonly #parts: readonly Inhabitants[];
  readonly #held = new Map<string, boolean>();
  readonly #listens = new Map<string, ReadonlySet<string>>();
  readonly #behind = new Map<string, ReadonlySet<string>>();
  #selecting: Selectors | undefined;
  #byPath: ReadonlyMap<string, ServiceResource> | undefined;

  constructor(parts: readonly Inhabitants[]) {
    this.#parts = parts;
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  /** Whether something there has the labels, or may come to have them. */
  holds(labels: Labels): boolean {
    return remembered(
      this.#held,
      textOf(labels),
      () =>
        this.#parts.some((part) => hasAny(part.workloads(labels))) ||
        this.#selectors().maySelect(labels).length > 0,
    );
  }

  /** As text; empty where a workload does not say what it listens on and no Service does. */
  portsOf(labels: Labels | undefined): ReadonlySet<string> {
    return remembered(this.#listens, textOf(labels), () => {
      const ports = new Set<string>();
      for (const part of this.#parts)
        for (const { spec } of part.workloads(labels))
          for (const port of Object.values(spec.ports ?? {}))
            ports.add(String(port));
      for (const port of this.servicePorts(labels))
        ports.add(String(targetPortOf(port)));
      return ports;
    });
  }

  /** As text: the workloads' ports that the Service leads to; empty where it is not there. */
  portsBehind(path: string): ReadonlySet<string> {
    return remembered(this.#behind, path, () => {
      const service = this.#services().get(path);
      const { ports = [], selector = {} } = service?.spec ?? {};
      const workloads = this.#parts.flatMap((part) => [
        ...part.workloads(selector),
      ]);
      return new Set(
        ports.flatMap((port) => [
          String(targetPortOf(port)),
          ...workloads
            .filter(
              ({ metadata }) =>
                metadata.namespace === service?.metadata.namespace,
            )
            .flatMap(({ spec }) => applicationPort(spec, port) ?? [])
            .map(String),
        ]),
      );
    });
  }

  /** Ports of the Services whose workloads may have the labels. */
  servicePorts(labels: Labels | undefined): readonly ServicePort[] {
    return this.#selectors()
      .maySelect(labels)
      .flatMap(({ spec }) => spec.ports);
  }

  #selectors(): Selectors {
    return (this.#selecting ??= new Selectors(
      this.#parts.flatMap((part) => [...part.services()]),
    ));
  }

  #services(): ReadonlyMap<string, ServiceResource> {
    return (this.#byPath ??= new Map(
      this.#parts.flatMap((part) =>
        Array.from(part.services(), (service) => [pathOf(service), service]),
      ),
    ));
  }
}

/** Services by what their selectors say: a question looks at those that can be meant. */
class Selectors {
  readonly #all: readonly ServiceResource[];
  /** By "KEY=VALUE". */
  readonly #saying = new Map<string, ServiceResource[]>();
  /** How many say something of the key. */
  readonly #speaking = new Map<string, number>();
  readonly #silent = new Map<string, readonly ServiceResource[]>();

  constructor(services: readonly ServiceResource[]) {
    this.#all = services;
    for (const service of services)
      for (const [key, value] of Object.entries(service.spec.selector ?? {})) {
        const label = `${key}=${value}`;
        const same = this.#saying.get(label);
        if (same === undefined) this.#saying.set(label, [service]);
        else same.push(service);
        this.#speaking.set(key, (this.#speaking.get(key) ?? 0) + 1);
      }
  }

  /** Those whose workloads may carry the labels: they may have more than the selector says, but no other value. */
  maySelect(labels: Labels = {}): readonly ServiceResource[] {
    const [fewest] = Object.entries(labels)
      .map(([key, value]) => ({
        key,
        same: this.#saying.get(`${key}=${value}`),
      }))
      .sort(
        (left, right) =>
          this.#count(left.key, left.same) - this.#count(right.key, right.same),
      );
    if (fewest === undefined) return this.#all;
    return [...(fewest.same ?? []), ...this.#silentOf(fewest.key)].filter(
      ({ spec }) =>
        Object.entries(labels).every(
          ([key, value]) => (spec.selector?.[key] ?? value) === value,
        ),
    );
  }

  #count(key: string, same: readonly ServiceResource[] = []): number {
    return same.length + this.#all.length - (this.#speaking.get(key) ?? 0);
  }

  #silentOf(key: string): readonly ServiceResource[] {
    if (this.#speaking.get(key) === this.#all.length) return [];
    return remembered(this.#silent, key, () =>
      this.#all.filter(({ spec }) => spec.selector?.[key] === undefined),
    );
  }
}

function hasAny(all: Iterable<unknown>): boolean {
  for (const _each of all) return true;
  return false;
}

function textOf(labels: Labels | undefined): string {
  return labels === undefined
    ? ""
    : JSON.stringify(
        Object.entries(labels).sort(([left], [right]) =>
          left < right ? -1 : 1,
        ),
      );
}

function remembered<T>(known: Map<string, T>, key: string, find: () => T): T {
  const found = known.get(key);
  if (found !== undefined) return found;
  const made = find();
  known.set(key, made);
  return made;
}
