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

export interface Catalogue {
  put(resource: Resource): void;
  /** As of a revision: what was written again since stays. */
  remove(resource: Resource, revision: number): void;
  /** Puts everything again, and forgets what is not among it. */
  replace(resources: readonly Resource[]): void;
  get(name: string): Entry | undefined;
  /** The set for a workload, with its own Workload in it, whether or not a Service selects it. */
  scopeOf(self: ScopeOf & { readonly name: string }): ScopedSet;
  /** Resources encoded so far. */
  readonly encoded: number;
}

export function makeCatalogue(): Catalogue {
  const entries = new Map<string, Entry>();
  const scopes = new Map<string, ScopedSet>();
  let encoded = 0;

  const makeEntry = (resource: Resource): Entry => {
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
          encoded += 1;
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
  };

  const put = (resource: Resource): void => {
    const name = resourceName(keyOf(resource));
    // A listing and the watch after it may overlap: what is older than what is here says nothing new.
    if (!isNewer(resource, entries.get(name))) return;
    entries.set(name, makeEntry(resource));
    scopes.clear();
  };

  const setOf = (resources: readonly Resource[]): ScopedSet => {
    const set = new Map<string, Entry>();
    for (const resource of resources) {
      const name = resourceName(keyOf(resource));
      const entry = entries.get(name);
      if (entry !== undefined) set.set(name, entry);
    }
    return { entries: set, digest: digestOfSet(set) };
  };

  /** The same object for the life of a connection, and asked about often. */
  const texts = new WeakMap<object, string>();
  const labelsText = (labels: ScopeOf["labels"]): string => {
    const known = texts.get(labels);
    if (known !== undefined) return known;
    const text = JSON.stringify(Object.entries(labels).sort());
    texts.set(labels, text);
    return text;
  };

  const cached = (key: string, make: () => ScopedSet): ScopedSet => {
    const found = scopes.get(key);
    if (found !== undefined) return found;
    const made = make();
    scopes.set(key, made);
    return made;
  };

  return {
    put,
    remove(resource, revision) {
      const name = resourceName(keyOf(resource));
      if (Number(entries.get(name)?.version) > revision) return;
      if (entries.delete(name)) scopes.clear();
    },
    replace(resources) {
      const names = new Set(
        resources.map((resource) => resourceName(keyOf(resource))),
      );
      for (const name of entries.keys())
        if (!names.has(name)) entries.delete(name);
      scopes.clear();
      for (const resource of resources) put(resource);
    },
    get: (name) => entries.get(name),
    scopeOf(self) {
      const { namespace, labels, name } = self;
      const labelled = labelsText(labels);
      const shared = cached(`${namespace} ${labelled}`, () =>
        setOf(
          scope(
            self,
            Array.from(entries.values(), ({ resource }) => resource),
          ),
        ),
      );
      const own = entries.get(
        resourceName({ kind: "Workload", namespace, name }),
      );
      if (own === undefined || shared.entries.has(own.name)) return shared;
      return cached(`${namespace} ${labelled} ${name}`, () => {
        const set = new Map(shared.entries).set(own.name, own);
        return { entries: set, digest: digestOfSet(set) };
      });
    },
    get encoded() {
      return encoded;
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
