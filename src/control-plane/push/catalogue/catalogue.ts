/** All that may be pushed, as the store has it now, and what of it each sidecar should hold: a change costs what it changes. */
import { EVERYTHING } from "../../../push/interest.ts";
import {
  FIELDS_SINCE,
  OLDEST_SCHEMA,
  type FieldSince,
} from "../../../push/fields-since.ts";
import { resourceName } from "../../../push/names.ts";
import {
  keyOf,
  type Resource,
  type ResourceKey,
} from "../../../resources/envelope.ts";
import type { InForce } from "../status.ts";
import { Impact } from "./impact.ts";
import type { InterestChange } from "./interests.ts";
import { Item, resourceEntry, type Entry } from "./item.ts";
import { MeshIndex } from "./mesh-index.ts";
import { viewOf, type MeshView } from "./mesh-view.ts";
import { Sayings } from "./saying.ts";
import { Scopes, type View, type Viewer } from "./scopes.ts";

export class Catalogue {
  readonly #index = new MeshIndex();
  #slots = 0;
  readonly #scopes = new Scopes(this.#index, (name) => this.#newItem(name));
  #encoded = 0;
  readonly #fieldsSince: readonly FieldSince[];
  readonly #sayings = new Map<number, Sayings>();

  /** For checks of resources by what else there is. */
  readonly mesh: MeshView = viewOf(this.#index);

  constructor(fieldsSince: readonly FieldSince[] = FIELDS_SINCE) {
    this.#fieldsSince = fieldsSince;
  }

  /** What sidecars of that push schema can be told, as they state it. */
  sayingsFor(stated: unknown): Sayings {
    const newest = Math.max(...this.#fieldsSince.map(({ since }) => since));
    // A peer may state anything: schemas that know the same are one.
    const schema = clamped(
      Number.parseInt(String(stated), 10),
      OLDEST_SCHEMA,
      newest,
    );
    let sayings = this.#sayings.get(schema);
    if (sayings === undefined) {
      const onEncode = (): number => (this.#encoded += 1);
      sayings = new Sayings(
        schema,
        this.#fieldsSince,
        onEncode,
        () => this.#index.trustDomains,
      );
      this.#sayings.set(schema, sayings);
    }
    return sayings;
  }

  /** Versions encoded so far. */
  get encoded(): number {
    return this.#encoded;
  }

  get(name: string): Entry | undefined {
    return this.#index.items.get(name)?.entry;
  }

  put(resource: Resource): void {
    const name = resourceName(keyOf(resource));
    const known = this.#index.items.get(name);
    // A listing and the watch after it may overlap: what is older than what is here says nothing new.
    if (known !== undefined && !isNewer(resource, known)) return;
    this.#change(known ?? this.#newItem(name), resource);
  }

  /** As of a revision: what was written again since stays. */
  remove(resource: Resource, revision: number): void {
    const item = this.#index.items.get(resourceName(keyOf(resource)));
    if (item === undefined || Number(item.entry?.version) > revision) return;
    this.#change(item, undefined);
  }

  /** Puts everything again, and forgets what is not among it. */
  replace(resources: readonly Resource[]): void {
    const names = new Set(
      resources.map((resource) => resourceName(keyOf(resource))),
    );
    for (const item of [...this.#index.items.values()])
      if (!names.has(item.name)) this.#change(item, undefined);
    for (const resource of resources) this.put(resource);
  }

  /** Sidecars that should hold that version or a newer one, and what they have made of it. */
  inForce(key: ResourceKey, resourceVersion: string): InForce {
    this.#scopes.flush();
    const entry = this.get(resourceName(key));
    if (entry === undefined) return { have: 0, of: 0, refused: 0 };
    // What the store has and the catalogue has not yet is in force nowhere.
    const known = Number(entry.version) >= Number(resourceVersion);
    return {
      have: known ? entry.inForce : 0,
      of: entry.item.wanted,
      refused: known ? entry.refused : 0,
      ...(known && entry.withheld > 0 ? { withheld: entry.withheld } : {}),
    };
  }

  /** How many connected sidecars should hold what has the name. */
  wanted(name: string): number {
    this.#scopes.flush();
    return this.get(name)?.item.wanted ?? 0;
  }

  /** What the workload should hold of what the names ask for (`push/interest.ts`), from now until `close`. */
  open(viewer: Viewer, names: readonly string[] = [EVERYTHING]): View {
    const view = this.#scopes.open(viewer);
    this.ask(view, { add: names, remove: [] });
    return view;
  }

  /** The sidecar asks for something else from now on. */
  ask(view: View, change: InterestChange): void {
    this.#scopes.change(view, change);
  }

  close(view: View): void {
    this.#scopes.close(view);
  }

  /** Those whose sets are others than at the last call. */
  takeMoved(): readonly View[] {
    return this.#scopes.takeMoved();
  }

  #newItem(name: string): Item {
    this.#slots += 1;
    return new Item(name, this.#slots);
  }

  #change(item: Item, after: Resource | undefined): void {
    const before = item.resource;
    const impact = new Impact();
    impact.add(item, before, after, this.#index);
    item.entry =
      after === undefined
        ? undefined
        : resourceEntry(item, after, () => (this.#encoded += 1));
    this.#index.change(item, before, after);
    impact.add(item, after, before, this.#index);
    if (impact.structural)
      for (const path of impact.services) this.#index.shared.forget(path);
    this.#scopes.hear(impact);
  }
}

function clamped(value: number, least: number, most: number): number {
  return value > least ? Math.min(value, most) : least;
}

function isNewer(resource: Resource, { entry }: Item): boolean {
  return Number(resource.metadata.resourceVersion) > Number(entry?.version);
}
