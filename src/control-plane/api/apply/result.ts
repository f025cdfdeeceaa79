/** What became of a list: an outcome for each item, in their order, and why some are refused. */
import type { Pause } from "../../../core/slices.ts";
import type { Cause } from "../errors.ts";
import type { ApiOptions } from "../options.ts";
import { titleOf } from "./judge.ts";
import type { Fault, Head, ListRequest } from "./list.ts";
import { atMost, refusalOf } from "./refusals.ts";

/** `refused`: something is wrong with the item. `skipped`: something is wrong with another one, and they stand and fall together. */
export const NOT_DONE = ["refused", "skipped"] as const;

/** What became of an item; `O` is what may become of one that is not refused or skipped. */
export type OutcomeOf<O extends string> = O | (typeof NOT_DONE)[number];

export interface ItemResult<O extends string> {
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly outcome: OutcomeOf<O>;
  /** As it is now; absent where it is not written, and at a dry run of a new one. */
  readonly resourceVersion?: string;
}

export interface ListResult<K extends string, O extends string> {
  readonly apiVersion: "v1";
  readonly kind: K;
  /** The newest version in the store: a watch from it misses nothing. */
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly ItemResult<O>[];
  /** Why items are refused. */
  readonly causes: readonly Cause[];
}

/** An item that was neither refused nor skipped. */
export interface Done<O extends string> {
  readonly outcome: O;
  readonly resourceVersion?: string | undefined;
}

/** By the items' indexes. */
export interface ListOutcome<O extends string> {
  readonly faults: ReadonlyMap<number, Fault>;
  readonly done: ReadonlyMap<number, Done<O>>;
}

/** Throws ApiError where nothing was done, for items are refused. */
export async function resultOf<K extends string, O extends string>(
  kind: K,
  items: readonly Head[],
  { faults, done }: ListOutcome<O>,
  { dryRun, audit }: ListRequest<OutcomeOf<O>>,
  { store }: Pick<ApiOptions, "store">,
  pause: Pause,
): Promise<ListResult<K, O>> {
  const results: ItemResult<O>[] = [];
  const causes: Cause[] = [];
  for (const item of items) {
    const { index, namespace, name } = item;
    const fault = faults.get(index);
    const { outcome, resourceVersion } = done.get(index) ?? {
      outcome:
        fault === undefined ? ("skipped" as const) : ("refused" as const),
    };
    causes.push(...(fault?.causes ?? []));
    results.push({
      ...(item.kind === undefined ? {} : { kind: item.kind }),
      ...(namespace === "" ? {} : { namespace }),
      ...(name === undefined ? {} : { name }),
      outcome,
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    });
    if (!dryRun) audit(titleOf(item), outcome);
    await pause();
  }
  if (faults.size > 0 && done.size === 0)
    throw refusalOf([...faults.values()], causes, items.length);
  return {
    apiVersion: "v1",
    kind,
    metadata: { resourceVersion: String(await store.revision()) },
    items: results,
    causes: atMost(causes),
  };
}
