/** Which Services one scope needs, and why: kept in step with what is asked for, and found anew where the mesh leads elsewhere. */
import { emptyClosure, extend, type Closure } from "./closure.ts";
import type { Item } from "./item.ts";
import type { Needed, ScopeOf } from "./membership.ts";
import type { MeshIndex } from "./mesh-index.ts";

/** `paths`: "NAMESPACE/NAME" of Services, there or not, whose changes concern the scope, or do not any more. */
export type OnSought<S> = (
  scope: S,
  paths: Iterable<string>,
  isSought: boolean,
) => void;

export interface NeedsOptions {
  readonly self: ScopeOf;
  readonly index: MeshIndex;
  /** Whether what acts on the workload itself is asked for. */
  readonly isSelfNeeded: boolean;
  readonly onSought: (paths: Iterable<string>, isSought: boolean) => void;
  /** What comes and goes with the Services that have come or gone. */
  readonly onChange: (items: Iterable<Item>) => void;
  /** It begins with what this one has found; absent: with nothing. */
  readonly from?: Needs | undefined;
}

const NOTHING: ReadonlySet<string> = new Set();

export class Needs implements Needed {
  readonly #options: NeedsOptions;
  /** How often each Service is asked for: by its own name, and by what questions lead to. */
  #roots = new Map<string, number>();
  /** Those from which the closure does not start yet. */
  #fresh: string[] = [];
  #closure: Closure = emptyClosure();
  #closureIsStale = false;
  #served: ReadonlySet<string> = NOTHING;
  #servedIsStale: boolean;

  constructor(options: NeedsOptions) {
    this.#options = options;
    this.#servedIsStale = options.isSelfNeeded;
    if (options.from !== undefined) this.#copy(options.from);
  }

  /** Whether what acts on the workload itself is asked for. */
  get self(): boolean {
    return this.#options.isSelfNeeded;
  }

  /** "NAMESPACE/NAME" of the Services that calls may lead to. */
  get services(): ReadonlySet<string> {
    return this.#closure.services;
  }

  /** Those that the workload itself serves; empty where nothing of itself is asked for. */
  get served(): ReadonlySet<string> {
    return this.#served;
  }

  addRoot(path: string): void {
    const count = this.#roots.get(path) ?? 0;
    this.#roots.set(path, count + 1);
    if (count === 0) this.#fresh.push(path);
  }

  dropRoot(path: string): void {
    const count = this.#roots.get(path) ?? 0;
    if (count > 1) this.#roots.set(path, count - 1);
    else if (this.#roots.delete(path)) this.#closureIsStale = true;
  }

  outdateClosure(): void {
    this.#closureIsStale = true;
  }

  outdateServed(): void {
    this.#servedIsStale = this.#options.isSelfNeeded;
  }

  flush(): void {
    if (this.#closureIsStale) this.#renew();
    else if (this.#fresh.length > 0) this.#grow();
    this.#closureIsStale = false;
    this.#fresh = [];
    if (this.#servedIsStale) this.#serve();
    this.#servedIsStale = false;
  }

  close(): void {
    this.#options.onSought(this.#closure.sought, false);
  }

  #copy(from: Needs): void {
    this.#roots = new Map(from.#roots);
    this.#fresh = [...from.#fresh];
    this.#closureIsStale = from.#closureIsStale;
    const { services, sought, hosts, endpoints } = from.#closure;
    this.#closure = {
      ...{ services: new Set(services), sought: new Set(sought) },
      ...{ hosts: new Set(hosts), endpoints: new Set(endpoints) },
    };
    this.#served = from.#served;
    this.#servedIsStale = from.#servedIsStale;
    this.#options.onSought(sought, true);
  }

  #grow(): void {
    const { self, index, onSought } = this.#options;
    const added = extend(this.#closure, this.#fresh, self, index);
    onSought(added, true);
    for (const path of added)
      if (this.#closure.services.has(path)) this.#touch(path);
  }

  #renew(): void {
    const { self, index, onSought } = this.#options;
    const before = this.#closure;
    this.#closure = emptyClosure();
    extend(this.#closure, this.#roots.keys(), self, index);
    const { services, sought } = this.#closure;
    onSought(without(before.sought, sought), false);
    onSought(without(sought, before.sought), true);
    this.#touchOthers(before.services, services);
  }

  #serve(): void {
    const { self, index } = this.#options;
    const before = this.#served;
    this.#served = new Set(
      index.selection.servicesFor(self.namespace, self.labels),
    );
    this.#touchOthers(before, this.#served);
  }

  #touchOthers(before: ReadonlySet<string>, after: ReadonlySet<string>): void {
    for (const path of without(before, after)) this.#touch(path);
    for (const path of without(after, before)) this.#touch(path);
  }

  /** What comes and goes with a Service. */
  #touch(path: string): void {
    const { index, onChange } = this.#options;
    const service = index.items.get(`Service/${path}`);
    if (service !== undefined) onChange([service]);
    onChange(index.beside.get(path));
    onChange(index.selection.workloadsOf(path));
  }
}

function without(
  all: ReadonlySet<string>,
  some: ReadonlySet<string>,
): readonly string[] {
  return [...all].filter((each) => !some.has(each));
}
