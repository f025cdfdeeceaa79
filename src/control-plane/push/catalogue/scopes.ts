/** The sets of all sidecars, one for all that see the same: brought up to date by what a change touches, when somebody asks or all has settled. */
import { Multimap } from "../../../core/multimap.ts";
import { resourceName } from "../../../push/names.ts";
import { ROOT_NAMESPACE } from "../../../resources/envelope.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import type { Impact } from "./impact.ts";
import type { Item } from "./item.ts";
import { isInScope, type ScopeOf } from "./membership.ts";
import type { MeshIndex } from "./mesh-index.ts";
import { ScopedSet } from "./scoped-set.ts";
import { Standing } from "./standing.ts";

/** A workload as its certificate binds it. */
export interface Viewer extends ScopeOf {
  readonly name: string;
}

/** What sidecars with the same namespace and labels have in common. */
class Scope {
  readonly key: string;
  readonly self: ScopeOf;
  readonly views: Set<View> = new Set();
  readonly #index: MeshIndex;
  /** What may be in the set or not, or in another version, since it was last looked at. */
  readonly #touched = new Set<Item>();
  #set: ScopedSet;

  /** `like`: the set of a scope of the same namespace, from which this one is a few steps away. */
  constructor(
    key: string,
    self: ScopeOf,
    index: MeshIndex,
    like: ScopedSet | undefined,
  ) {
    this.key = key;
    this.self = self;
    this.#index = index;
    this.#set = like ?? ScopedSet.EMPTY;
    for (const item of like === undefined
      ? index.items.values()
      : boundToLabels(index, self.namespace))
      this.#touched.add(item);
  }

  get set(): ScopedSet {
    this.flush();
    return this.#set;
  }

  touch(items: Iterable<Item>): void {
    for (const item of items) this.#touched.add(item);
  }

  flush(): void {
    if (this.#touched.size === 0) return;
    const before = this.#set;
    for (const item of this.#touched) this.#set = this.#judged(item);
    this.#touched.clear();
    if (this.#set !== before) for (const view of this.views) view.follow();
  }

  #judged(item: Item): ScopedSet {
    const { entry } = item;
    return entry !== undefined &&
      isInScope(this.self, item, entry.resource, this.#index)
      ? this.#set.with(entry)
      : this.#set.without(item.slot);
  }
}

/** One sidecar's set: its scope's, and its own Workload in it, whether or not a Service selects it. */
export class View {
  readonly viewer: Viewer;
  readonly scope: Scope;
  /** The name of its Workload in the catalogue. */
  readonly ownName: string;
  /** The sidecar in the counts of what is in force. */
  readonly standing: Standing = new Standing();
  readonly #index: MeshIndex;
  readonly #onMoved: (view: View) => void;
  #set: ScopedSet = ScopedSet.EMPTY;

  constructor(
    viewer: Viewer,
    scope: Scope,
    index: MeshIndex,
    onMoved: (view: View) => void,
  ) {
    const { namespace, name } = viewer;
    this.viewer = viewer;
    this.ownName = resourceName({ kind: WORKLOAD.kind, namespace, name });
    this.scope = scope;
    this.#index = index;
    this.#onMoved = onMoved;
    this.follow();
  }

  get set(): ScopedSet {
    this.scope.flush();
    return this.#set;
  }

  /** The scope or the own Workload has changed. */
  follow(): void {
    const shared = this.scope.set;
    const own = this.#index.items.get(this.ownName)?.entry;
    const set =
      own === undefined || shared.entries.get(own.slot) !== undefined
        ? shared
        : shared.with(own);
    if (set === this.#set) return;
    this.#set = set;
    this.standing.wants(set);
    this.#onMoved(this);
  }
}

export class Scopes {
  readonly #index: MeshIndex;
  readonly #scopes = new Map<string, Scope>();
  readonly #byNamespace = new Multimap<string, Scope>();
  /** By the name of their own Workload. */
  readonly #views = new Multimap<string, View>();
  readonly #stale = new Set<Scope>();
  readonly #moved = new Set<View>();
  /** Labels are the same object for the life of a connection, and asked about often. */
  readonly #labelTexts = new WeakMap<object, string>();

  constructor(index: MeshIndex) {
    this.#index = index;
  }

  open(viewer: Viewer): View {
    const scope = this.#scopeOf(viewer);
    const view = new View(viewer, scope, this.#index, (moved) =>
      this.#moved.add(moved),
    );
    scope.views.add(view);
    this.#views.add(view.ownName, view);
    return view;
  }

  close(view: View): void {
    const { scope, viewer } = view;
    view.standing.setCounted(false);
    scope.views.delete(view);
    this.#views.delete(view.ownName, view);
    this.#moved.delete(view);
    if (scope.views.size > 0) return;
    this.#scopes.delete(scope.key);
    this.#byNamespace.delete(viewer.namespace, scope);
    this.#stale.delete(scope);
  }

  hear(impact: Impact): void {
    if (impact.everybody)
      for (const scope of this.#scopes.values()) this.#touch(scope, impact);
    else
      for (const namespace of impact.namespaces)
        for (const scope of this.#byNamespace.get(namespace))
          this.#touch(scope, impact);
    for (const item of impact.touched)
      for (const view of this.#views.get(item.name)) view.follow();
  }

  /** Everybody's set is as the mesh is now. */
  flush(): void {
    for (const scope of this.#stale) scope.flush();
    this.#stale.clear();
  }

  /** Those whose sets are others than at the last call. */
  takeMoved(): readonly View[] {
    this.flush();
    const moved = [...this.#moved];
    this.#moved.clear();
    return moved;
  }

  #touch(scope: Scope, { touched }: Impact): void {
    scope.touch(touched);
    this.#stale.add(scope);
  }

  #scopeOf({ namespace, labels }: Viewer): Scope {
    const key = `${namespace} ${this.#labelsText(labels)}`;
    const known = this.#scopes.get(key);
    if (known !== undefined) return known;
    const [sibling] = this.#byNamespace.get(namespace);
    const self = { namespace, labels };
    const scope = new Scope(key, self, this.#index, sibling?.set);
    this.#scopes.set(key, scope);
    this.#byNamespace.add(namespace, scope);
    return scope;
  }

  #labelsText(labels: ScopeOf["labels"]): string {
    const known = this.#labelTexts.get(labels);
    if (known !== undefined) return known;
    const text = JSON.stringify(Object.entries(labels).sort());
    this.#labelTexts.set(labels, text);
    return text;
  }
}

/** What one workload of the namespace may have in scope and another may not. */
function boundToLabels(index: MeshIndex, namespace: string): Item[] {
  return [
    ...index.faults,
    ...index.security.get(namespace),
    ...index.security.get(ROOT_NAMESPACE),
  ];
}
