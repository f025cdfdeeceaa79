/** A list of resources in requests that the API takes: a namespace goes in one where it fits. */
import {
  LIST_LIMIT,
  MOST_ITEMS,
  MOST_LIST_VALUES,
} from "../control-plane/api/bodies.ts";
import type { Resource } from "../resources/envelope.ts";
import { KINDS } from "../resources/registry.ts";

/** What one request may have. */
export interface Size {
  readonly items: number;
  /** Bytes of the whole body as JSON. */
  readonly bytes: number;
  /** JSON values in it. */
  readonly values: number;
}

export const LARGEST: Size = {
  items: MOST_ITEMS,
  bytes: LIST_LIMIT,
  values: MOST_LIST_VALUES,
};

/** `{"items":[]}` around them. */
const FRAME: Size = { items: 0, bytes: 12, values: 2 };
const NOTHING: Size = { items: 0, bytes: 0, values: 0 };

/** What goes in one request. */
interface Part<T> {
  readonly all: readonly T[];
  readonly size: Size;
}

/**
 * One list in its own order where it fits. Otherwise the resources of a namespace stay together; of a namespace that does not fit, what
 * others refer to goes first.
 */
export function batchesOf<T extends { readonly resource: Resource }>(
  all: readonly T[],
  largest: Size = LARGEST,
): readonly (readonly T[])[] {
  const each = all.map((one) => ({ all: [one], size: sizeOf(one.resource) }));
  const whole = together(each);
  if (fits(sum(FRAME, whole.size), largest))
    return all.length === 0 ? [] : [all];
  const namespaces = Map.groupBy(
    each,
    ({ all: [one] }) => one?.resource.metadata.namespace ?? "",
  );
  const parts = [...namespaces.values()].flatMap((namespace) => {
    const joined = together(namespace);
    return fits(sum(FRAME, joined.size), largest)
      ? [joined]
      : namespace.toSorted((a, b) => rankOf(a) - rankOf(b));
  });
  return packed(parts, largest);
}

/** Each goes on with the batch before it, or begins another. */
function packed<T>(parts: readonly Part<T>[], largest: Size): T[][] {
  const batches: T[][] = [];
  let size = FRAME;
  for (const part of parts) {
    const joined = sum(size, part.size);
    const open = batches.at(-1);
    if (open !== undefined && fits(joined, largest)) {
      open.push(...part.all);
      size = joined;
    } else {
      batches.push([...part.all]);
      size = sum(FRAME, part.size);
    }
  }
  return batches;
}

function together<T>(parts: readonly Part<T>[]): Part<T> {
  return {
    all: parts.flatMap(({ all }) => all),
    size: parts.map(({ size }) => size).reduce(sum, NOTHING),
  };
}

function rankOf({ all: [one] }: Part<{ readonly resource: Resource }>): number {
  return KINDS.findIndex(({ kind }) => kind === one?.resource.kind);
}

function sum(a: Size, b: Size): Size {
  return {
    items: a.items + b.items,
    bytes: a.bytes + b.bytes,
    values: a.values + b.values,
  };
}

function fits({ items, bytes, values }: Size, largest: Size): boolean {
  return (
    items <= largest.items && bytes <= largest.bytes && values <= largest.values
  );
}

function sizeOf(resource: Resource): Size {
  return {
    items: 1,
    // With the comma behind it.
    bytes: Buffer.byteLength(JSON.stringify(resource)) + 1,
    values: valuesIn(resource),
  };
}

function valuesIn(value: unknown): number {
  if (typeof value !== "object" || value === null) return 1;
  let count = 1;
  for (const each of Object.values(value)) count += valuesIn(each);
  return count;
}
