/** What a put makes of what is there and what is given; every store writes the same. */
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../core/clock.ts";
import { timestamp } from "../../core/clock.ts";
import type { Resource, ResourceKey } from "../../resources/envelope.ts";
import { ConflictError, type Expected } from "./store.ts";

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
  clock: Clock,
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
      creationTimestamp:
        current?.metadata.creationTimestamp ?? timestamp(clock.wall()),
    },
    spec,
  };
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
