/** What puts make of what is there and what is given; every store writes the same. */
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { timestamp } from "../../core/clock.ts";
import type { WallMs } from "../../core/units.ts";
import {
  formatKey,
  keyOf,
  type Resource,
  type ResourceKey,
} from "../../resources/envelope.ts";
import { actOf, type Act, type Author } from "../audit/audit.ts";
import type { Write } from "./group-commit.ts";
import type { ChangeType } from "./sqlite-file.ts";
import {
  ConflictError,
  type Done,
  type Expected,
  type Put,
  type Removal,
  type Store,
} from "./store.ts";

/** The revision of a resource that came from a store; undefined of one that is not there. */
export function revisionOf(resource: Resource | undefined): number | undefined {
  return resource === undefined
    ? undefined
    : Number(resource.metadata.resourceVersion);
}

/** Throws ConflictError where what is there is not what the writer expected. */
export function checkExpected(
  key: ResourceKey,
  expected: Expected,
  current: Resource | undefined,
): void {
  if (expected === undefined) return;
  const actual = revisionOf(current);
  if (expected === "absent" ? actual !== undefined : actual !== expected)
    throw new ConflictError(key, expected, actual);
}

/** The resource to write as `revision`, or undefined where the write would change nothing. */
export function nextVersion(
  current: Resource | undefined,
  given: Resource,
  revision: number,
  wall: WallMs,
): Resource | undefined {
  const { name, namespace } = given.metadata;
  const labels = plain(given.metadata.labels ?? {});
  const annotations = plain(given.metadata.annotations ?? {});
  const spec = plain(given.spec);
  const specChanged =
    current === undefined || !isDeepStrictEqual(current.spec, spec);
  if (
    !specChanged &&
    isDeepStrictEqual(current.metadata.labels ?? {}, labels) &&
    isDeepStrictEqual(current.metadata.annotations ?? {}, annotations)
  )
    return undefined;
  const generation = current?.metadata.generation ?? 0;
  return {
    apiVersion: given.apiVersion,
    kind: given.kind,
    metadata: {
      name,
      ...(namespace === undefined || namespace === "" ? {} : { namespace }),
      ...(isEmpty(labels) ? {} : { labels }),
      ...(isEmpty(annotations) ? {} : { annotations }),
      uid: current?.metadata.uid ?? randomUUID(),
      resourceVersion: String(revision),
      generation: specChanged ? generation + 1 : generation,
      creationTimestamp: current?.metadata.creationTimestamp ?? timestamp(wall),
    },
    spec,
  };
}

/** A put as it is to be written. */
export interface PlannedPut extends Done {
  readonly key: ResourceKey;
  /** Undefined where it changes nothing. */
  readonly revision: number | undefined;
}

/** What a transaction would make of what `find` gives, with the revisions after `newest`; nothing is written yet. Throws ConflictError. */
export function planPuts(
  puts: readonly Put[],
  find: (key: ResourceKey) => Resource | undefined,
  newest: number,
  wall: WallMs,
): PlannedPut[] {
  // A later put of the same key goes on from the earlier one.
  const made = new Map<string, Resource>();
  let revision = newest;
  return puts.map(({ resource: given, expected }) => {
    const key = keyOf(given);
    const text = formatKey(key);
    const before = made.get(text) ?? find(key);
    checkExpected(key, expected, before);
    const next = nextVersion(before, given, revision + 1, wall);
    if (next === undefined)
      return { key, before, resource: before ?? given, revision: undefined };
    revision += 1;
    made.set(text, next);
    return { key, before, resource: next, revision };
  });
}

/** A removal as it is to be made. */
export interface PlannedRemoval {
  readonly key: ResourceKey;
  readonly before: Resource;
  readonly revision: number;
}

/** The same of removals, of those that there is something to remove of. Throws ConflictError. */
export function planRemovals(
  removals: readonly Removal[],
  find: (key: ResourceKey) => Resource | undefined,
  newest: number,
): PlannedRemoval[] {
  const planned = new Map<string, PlannedRemoval>();
  for (const { key, expected } of removals) {
    const text = formatKey(key);
    const before = planned.has(text) ? undefined : find(key);
    checkExpected(key, expected, before);
    if (before === undefined) continue;
    const revision = newest + planned.size + 1;
    planned.set(text, { key, before, revision });
  }
  return [...planned.values()];
}

/** For the audit log: the changes of an author, none of what nobody asked for. */
export function actsOf(
  author: Author | undefined,
  planned: readonly {
    readonly key: ResourceKey;
    readonly before: Resource | undefined;
    /** Undefined where it goes. */
    readonly resource?: Resource;
    readonly revision: number | undefined;
  }[],
): readonly Act[] {
  if (author === undefined) return [];
  return planned.flatMap(({ key, before, resource, revision }) =>
    revision === undefined
      ? []
      : [actOf(author, key, before, resource, revision)],
  );
}

/** What was there of each. */
export function removedOf(
  removals: readonly Removal[],
  planned: readonly PlannedRemoval[],
): readonly (Resource | undefined)[] {
  const before = new Map(
    planned.map((each) => [formatKey(each.key), each.before]),
  );
  return removals.map(({ key }) => {
    const text = formatKey(key);
    const found = before.get(text);
    // What is named twice is removed once.
    before.delete(text);
    return found;
  });
}

/** The transaction of a single put. */
export async function putOne(
  store: Pick<Store, "transact">,
  resource: Resource,
  expected: Expected,
  author: Author | undefined,
): Promise<Resource> {
  const [done] = await store.transact([{ resource, expected }], author);
  return done?.resource ?? resource;
}

/** A copy as JSON keeps it: what the writer does with its object afterwards changes nothing here. */
function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

function isEmpty(map: Readonly<Record<string, string>>): boolean {
  return Object.keys(map).length === 0;
}

/** Runs now, and gives what it throws as a rejection. */
export function step<T>(run: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(run());
  });
}

/** Those that change something. */
export function writesOf(planned: readonly PlannedPut[]): Write[] {
  return planned.flatMap(({ key, before, resource, revision }) =>
    revision === undefined ? [] : { key, before, after: resource, revision },
  );
}

export function withoutAfter({ key, before, revision }: PlannedRemoval): Write {
  return { key, before, after: undefined, revision };
}

/** How the history names a write. */
export function typeOf(
  before: Resource | undefined,
  after: Resource | undefined,
): ChangeType {
  if (after === undefined) return "remove";
  return before === undefined ? "create" : "update";
}
