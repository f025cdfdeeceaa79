/** All that may be pushed, as the store has it now: each resource encoded once per version, and each scope computed once per state. */
import { pushedResource, encodeResource } from "../../push/codec.ts";
import { digestOf, resourceName, RESOURCE_TYPE } from "../../push/names.ts";
import { keyOf, type Resource } from "../../resources/envelope.ts";
import { scope, type ScopeOf } from "./scope.ts";

/** One version of one resource. */
export interface Entry {
  readonly name: string;
  readonly version: string;
  readonly resource: Resource;
  /** As the field of a response that it will be; made at the first call, the same buffer ever after. */
  encoded(): Buffer;
}

/** What a sidecar should hold. Shared by all sidecars of one scope, never edited. */
export interface ScopedSet {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly digest: string;
}

/** Names and versions that a sidecar holds. */
export type Held = ReadonlyMap<string, { readonly version: string }>;

export interface Difference {
  readonly changed: readonly Entry[];
  readonly removed: readonly string[];
}

export class Catalogue {
  readonly #entries = new Map<string, Entry>();
  /** By namespace, labels and, where it differs, name. */
  readonly #scopes = new Map<string, ScopedSet>();
  /** Labels are the same object for the life of a connection, and asked about often. */
  readonly #labelTexts = new WeakMap<object, string>();
  #encoded = 0;

  /** Resources encoded so far. */
  get encoded(): number {
    return this.#encoded;
  }

  get(name: string): Entry | undefined {
    return this.#entries.get(name);
  }

  put(resource: Resource): void {
    const name = resourceName(keyOf(resource));
    // A listing and the watch after it may overlap: what is older than what is here says nothing new.
    if (!isNewer(resource, this.#entries.get(name))) return;
    this.#entries.set(
      name,
      makeEntry(resource, () => (this.#encoded += 1)),
    );
    this.#scopes.clear();
  }

  /** As of a revision: what was written again since stays. */
  remove(resource: Resource, revision: number): void {
    const name = resourceName(keyOf(resource));
    if (Number(this.#entries.get(name)?.version) > revision) return;
    if (this.#entries.delete(name)) this.#scopes.clear();
  }

  /** Puts everything again, and forgets what is not among it. */
  replace(resources: readonly Resource[]): void {
    const names = new Set(
      resources.map((resource) => resourceName(keyOf(resource))),
    );
    for (const name of this.#entries.keys())
      if (!names.has(name)) this.#entries.delete(name);
    this.#scopes.clear();
    for (const resource of resources) this.put(resource);
  }

  /** The set for a workload, with its own Workload in it, whether or not a Service selects it. */
  scopeOf(self: ScopeOf & { readonly name: string }): ScopedSet {
    const { namespace, labels, name } = self;
    const key = `${namespace} ${this.#labelsText(labels)}`;
    const shared = this.#cached(key, () => this.#setFor(self));
    const own = this.#entries.get(
      resourceName({ kind: "Workload", namespace, name }),
    );
    if (own === undefined || shared.entries.has(own.name)) return shared;
    return this.#cached(`${key} ${name}`, () => {
      const set = new Map(shared.entries).set(own.name, own);
      return { entries: set, digest: digestOfSet(set) };
    });
  }

  #setFor(self: ScopeOf): ScopedSet {
    const all = Array.from(this.#entries.values(), ({ resource }) => resource);
    const set = new Map<string, Entry>();
    for (const resource of scope(self, all)) {
      const name = resourceName(keyOf(resource));
      const entry = this.#entries.get(name);
      if (entry !== undefined) set.set(name, entry);
    }
    return { entries: set, digest: digestOfSet(set) };
  }

  #labelsText(labels: ScopeOf["labels"]): string {
    const known = this.#labelTexts.get(labels);
    if (known !== undefined) return known;
    const text = JSON.stringify(Object.entries(labels).sort());
    this.#labelTexts.set(labels, text);
    return text;
  }

  #cached(key: string, make: () => ScopedSet): ScopedSet {
    const found = this.#scopes.get(key);
    if (found !== undefined) return found;
    const made = make();
    this.#scopes.set(key, made);
    return made;
  }
}

/** `onEncode` is called once, if ever. */
function makeEntry(resource: Resource, onEncode: () => void): Entry {
  const key = keyOf(resource);
  const name = resourceName(key);
  const version = resource.metadata.resourceVersion ?? "";
  let buffer: Buffer | undefined;
  return {
    name,
    version,
    resource,
    encoded() {
      if (buffer === undefined) {
        onEncode();
        const json = Buffer.from(JSON.stringify(resource));
        const value = pushedResource.encode({ ...key, json });
        buffer = encodeResource({
          name,
          version,
          typeUrl: RESOURCE_TYPE,
          value,
        });
      }
      return buffer;
    },
  };
}

function isNewer(resource: Resource, known: Entry | undefined): boolean {
  return (
    known === undefined ||
    Number(resource.metadata.resourceVersion) > Number(known.version)
  );
}

function digestOfSet(set: ReadonlyMap<string, Entry>): string {
  return digestOf(
    Array.from(set, ([name, { version }]) => [name, version] as const),
  );
}

/** What must be sent to make `held` into `wanted`. */
export function difference(held: Held, wanted: ScopedSet): Difference {
  const changed: Entry[] = [];
  const removed: string[] = [];
  for (const [name, entry] of wanted.entries)
    if (held.get(name)?.version !== entry.version) changed.push(entry);
  for (const name of held.keys())
    if (!wanted.entries.has(name)) removed.push(name);
  return { changed, removed };
}
