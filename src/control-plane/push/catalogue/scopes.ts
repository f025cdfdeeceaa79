/** The scopes of all sidecars, found by what a change concerns; and each sidecar's own view of its scope. */
import { Multimap } from "../../../core/multimap.ts";
import { resourceName } from "../../../push/names.ts";
import { WORKLOAD } from "../../../resources/workload/schema.ts";
import { empty } from "../../../runtime/v8.ts";
import { Answers } from "./answers.ts";
import type { Impact } from "./impact.ts";
import { Interests, type InterestChange } from "./interests.ts";
import type { Item } from "./item.ts";
import type { ScopeOf } from "./membership.ts";
import type { MeshIndex } from "./mesh-index.ts";
import { Scope, type Follower } from "./scope.ts";
import { ScopedSet } from "./scoped-set.ts";
import { ViewCounts } from "./view-counts.ts";

/** A workload as its certificate binds it. */
export interface Viewer extends ScopeOf {
  readonly name: string;
}

/** One sidecar's set: its scope's, and its own Workload in it, whether or not a Service selects it. */
export class View implements Follower {
  readonly viewer: Viewer;
  /** What it asks for. */
  readonly names: Set<string> = new Set();
  /** The name of its Workload in the catalogue. */
  readonly ownName: string;
  /** The sidecar in the counts of what is in force. */
  readonly counts: ViewCounts = new ViewCounts();
  readonly #index: MeshIndex;
  readonly #onMoved: (view: View) => void;
  #scope: Scope;
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
    this.#scope = scope;
    this.#index = index;
    this.#onMoved = onMoved;
    scope.join(this);
  }

  get scope(): Scope {
    return this.#scope;
  }

  get set(): ScopedSet {
    this.#scope.flush();
    return this.#set;
  }

  /** Sees by another scope from now on. */
  enter(scope: Scope): void {
    this.#scope.leave(this);
    this.#scope = scope;
    scope.join(this);
  }

  /** `shared`: the scope's set. It, or the own Workload, has changed. */
  follow(shared: ScopedSet): void {
    const own = this.#scope.interests.self
      ? this.#index.items.get(this.ownName)?.entry
      : undefined;
    const set =
      own === undefined || shared.entries.get(own.slot) !== undefined
        ? shared
        : shared.with(own);
    if (set === this.#set) return;
    this.#set = set;
    this.counts.wants(set);
    this.#onMoved(this);
  }
}

export class Scopes {
  readonly #index: MeshIndex;
  readonly #answers: Answers;
  readonly #scopes = new Map<string, Scope>();
  /** Those that ask for everything, and those that ask for some things alone. */
  readonly #whole = new Multimap<string, Scope>();
  readonly #partial = new Multimap<string, Scope>();
  /** Those that ask for some things alone, by the Services that they look for, there or not. */
  readonly #seekers = new Multimap<string, Scope>();
  /** By the name of their own Workload. */
  readonly #views = new Multimap<string, View>();
  readonly #stale = new Set<Scope>();
  readonly #moved = new Set<View>();
  /** Labels are the same object for the life of a connection, and asked about often. */
  readonly #labelTexts = new WeakMap<object, string>();

  constructor(index: MeshIndex, newItem: (name: string) => Item) {
    this.#index = index;
    this.#answers = new Answers(index, newItem);
  }

  /** The view of a sidecar that has asked for nothing yet. */
  open(viewer: Viewer): View {
    const scope = this.#scopeOf(viewer, Interests.NOTHING, []);
    const view = new View(viewer, scope, this.#index, (moved) =>
      this.#moved.add(moved),
    );
    this.#views.add(view.ownName, view);
    return view;
  }

  /** The view's sidecar asks for something else. */
  change(view: View, asked: InterestChange): void {
    const change = exactly(asked, view.names);
    const { scope: before, viewer, names } = view;
    for (const name of change.add) names.add(name);
    for (const name of change.remove) names.delete(name);
    if (change.add.length + change.remove.length === 0) return;
    const interests = before.interests.changed(change);
    const key = this.#keyOf(viewer, interests);
    if (!this.#scopes.has(key) && interests.isLike(before.interests)) {
      let scope = before;
      if (before.followers.size === 1) this.#scopes.delete(before.key);
      // The others go on with it as it is.
      else scope = this.#newScope(viewer, before.interests, [], before);
      scope.alter(change, interests, key);
      this.#scopes.set(key, scope);
      if (scope !== before) view.enter(scope);
      return;
    }
    view.enter(this.#scopeOf(viewer, interests, names));
    this.#dropUnused(before);
  }

  close(view: View): void {
    view.counts.setCounted(false);
    view.scope.leave(view);
    this.#views.delete(view.ownName, view);
    this.#moved.delete(view);
    this.#dropUnused(view.scope);
  }

  hear(impact: Impact): void {
    for (const scope of this.#audience(impact)) scope.touch(impact.touched);
    if (impact.structural) {
      for (const path of impact.services)
        for (const scope of this.#seekers.get(path)) scope.outdateClosure();
      for (const namespace of impact.homes)
        for (const scope of this.#partial.get(namespace)) scope.outdateServed();
    }
    if (impact.allQuestions) this.#answers.outdateAll();
    else this.#answers.outdate(impact.questions);
    for (const item of impact.touched)
      for (const view of this.#views.get(item.name))
        view.follow(view.scope.set);
  }

  /** Everybody's set is as the mesh is now. */
  flush(): void {
    for (const scope of this.#stale) scope.flush();
    empty(this.#stale);
  }

  /** Those whose sets are others than at the last call. */
  takeMoved(): readonly View[] {
    this.flush();
    const moved = [...this.#moved];
    empty(this.#moved);
    return moved;
  }

  #audience(impact: Impact): ReadonlySet<Scope> {
    if (impact.all) return new Set(this.#scopes.values());
    const audience = new Set<Scope>();
    const add = (scopes: Iterable<Scope>): void => {
      for (const scope of scopes) audience.add(scope);
    };
    for (const namespace of impact.everybody
      ? this.#whole.keys()
      : impact.namespaces)
      add(this.#whole.get(namespace));
    for (const namespace of impact.homes) add(this.#partial.get(namespace));
    for (const path of impact.services) add(this.#seekers.get(path));
    return audience;
  }

  /** `names`: of what the interests are in. */
  #scopeOf(
    viewer: Viewer,
    interests: Interests,
    names: Iterable<string>,
  ): Scope {
    const known = this.#scopes.get(this.#keyOf(viewer, interests));
    if (known !== undefined) return known;
    const scope = this.#newScope(viewer, interests, names);
    this.#scopes.set(scope.key, scope);
    return scope;
  }

  /** `from`: a scope of the same viewer and interests that it begins as. */
  #newScope(
    viewer: Viewer,
    interests: Interests,
    names: Iterable<string>,
    from?: Scope,
  ): Scope {
    const { namespace, labels } = viewer;
    const scope = new Scope(
      {
        key: this.#keyOf(viewer, interests),
        self: { namespace, labels },
        interests,
        index: this.#index,
        answers: this.#answers,
        like: interests.everything ? this.#plainWhole(namespace) : undefined,
        from,
        onStale: (stale) => this.#stale.add(stale),
        onSought: (seeker, paths, isSought) => {
          for (const path of paths)
            if (isSought) this.#seekers.add(path, seeker);
            else this.#seekers.delete(path, seeker);
        },
      },
      names,
    );
    this.#ofNamespace(scope).add(namespace, scope);
    return scope;
  }

  #ofNamespace({ interests }: Scope): Multimap<string, Scope> {
    return interests.everything ? this.#whole : this.#partial;
  }

  /** One whose set holds resources alone. */
  #plainWhole(namespace: string): Scope | undefined {
    for (const scope of this.#whole.get(namespace))
      if (scope.questions === 0) return scope;
    return undefined;
  }

  #dropUnused(scope: Scope): void {
    if (scope.followers.size > 0) return;
    scope.close();
    this.#scopes.delete(scope.key);
    this.#ofNamespace(scope).delete(scope.self.namespace, scope);
    this.#stale.delete(scope);
  }

  #keyOf({ namespace, labels }: Viewer, interests: Interests): string {
    return `${namespace} ${this.#labelsText(labels)} ${interests.key}`;
  }

  #labelsText(labels: ScopeOf["labels"]): string {
    const known = this.#labelTexts.get(labels);
    if (known !== undefined) return known;
    const text = JSON.stringify(Object.entries(labels).sort());
    this.#labelTexts.set(labels, text);
    return text;
  }
}

/** What of the change is one; a name in both is asked for. */
function exactly(
  { add, remove }: InterestChange,
  names: ReadonlySet<string>,
): InterestChange {
  const wanted = new Set(add);
  return {
    add: [...wanted].filter((name) => !names.has(name)),
    remove: [...new Set(remove)].filter(
      (name) => names.has(name) && !wanted.has(name),
    ),
  };
}
