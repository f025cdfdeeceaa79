/** Writes the list of a request in one transaction of the store: what is right with whole namespaces, or with `atomic` all of it or nothing. */
import { nextTurn, pauses, type Pause } from "../../../core/slices.ts";
import type { Resource } from "../../../resources/envelope.ts";
import { ConflictError } from "../../store/store.ts";
import { nextVersion, revisionOf } from "../../store/write.ts";
import type { Cause } from "../errors.ts";
import type { ApiOptions } from "../options.ts";
import { judge, titleOf, type Accepted, type Judgement } from "./judge.ts";
import { readItems, type Item, type ListRequest } from "./list.ts";
import { atMost, needWriter, refusalOf } from "./refusals.ts";

/** `refused`: something is wrong with the item. `skipped`: something is wrong with another one, and they stand and fall together. */
export const OUTCOMES = [
  "created",
  "configured",
  "unchanged",
  "refused",
  "skipped",
] as const;

export type Outcome = (typeof OUTCOMES)[number];

/** What became of one item; results are in the order of the items. */
export interface ItemResult {
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly outcome: Outcome;
  /** As it is now; absent where it is not written, and at a dry run of a new one. */
  readonly resourceVersion?: string;
}

export interface ApplyResult {
  readonly apiVersion: "v1";
  readonly kind: "ApplyResult";
  /** The newest version in the store: a watch from it misses nothing. */
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly ItemResult[];
  readonly warnings: readonly Cause[];
  /** Why items are refused. */
  readonly causes: readonly Cause[];
}

/** A list that meets faster writers is judged again on what those wrote, so often. */
const MOST_TRIES = 8;

/** Throws ApiError where nothing of the list may be written. */
export async function applyList(
  options: ApiOptions,
  request: ListRequest<Outcome>,
): Promise<ApplyResult> {
  const { principal, atomic } = request;
  needWriter(principal);
  const pause = pauses(options.clock);
  const items = await readItems(request.body, principal, pause);
  for (let tries = 1; ; tries += 1) {
    const judged = await judge(items, { ...options, principal, atomic, pause });
    try {
      const written = await write(judged.accepted, request, options, pause);
      return await finish(items, judged, written, request, options, pause);
    } catch (thrown) {
      if (!(thrown instanceof ConflictError) || tries === MOST_TRIES)
        throw thrown;
    }
  }
}

interface Written {
  readonly outcome: Outcome;
  readonly resource: Resource;
}

/** By index. What was judged must still be there, or what was found of it does not hold: throws ConflictError. */
async function write(
  accepted: readonly Accepted[],
  { dryRun }: ListRequest<Outcome>,
  { store, clock }: ApiOptions,
  pause: Pause,
): Promise<ReadonlyMap<number, Written>> {
  const written = new Map<number, Written>();
  const note = (
    index: number,
    before: Resource | undefined,
    resource: Resource,
  ): void => {
    const outcome =
      before === undefined
        ? "created"
        : before === resource
          ? "unchanged"
          : "configured";
    written.set(index, { outcome, resource });
  };
  if (dryRun) {
    const wall = clock.wall();
    for (const { item, before } of accepted) {
      const revision = revisionOf(before) ?? 0;
      const next = nextVersion(before, item.resource, revision, wall);
      note(item.index, before, next ?? before ?? item.resource);
      await pause();
    }
    return written;
  }
  // The one step that cannot be cut has a turn to itself.
  await nextTurn();
  const done = await store.transact(
    accepted.map(({ item, before }) => ({
      resource: item.resource,
      expected: revisionOf(before) ?? "absent",
    })),
  );
  await nextTurn();
  for (const [at, { item }] of accepted.entries()) {
    const { before, resource } = done[at] ?? {};
    if (resource !== undefined) note(item.index, before, resource);
  }
  return written;
}

async function finish(
  items: readonly Item[],
  { faults, warnings }: Judgement,
  written: ReadonlyMap<number, Written>,
  request: ListRequest<Outcome>,
  { store }: ApiOptions,
  pause: Pause,
): Promise<ApplyResult> {
  const results: ItemResult[] = [];
  const causes: Cause[] = [];
  for (const item of items) {
    const { index, kind, namespace, name } = item;
    const fault = faults.get(index);
    const done = written.get(index);
    const outcome =
      done?.outcome ?? (fault === undefined ? "skipped" : "refused");
    causes.push(...(fault?.causes ?? []));
    const { resourceVersion } = done?.resource.metadata ?? {};
    results.push({
      ...(kind === undefined ? {} : { kind }),
      ...(namespace === "" ? {} : { namespace }),
      ...(name === undefined ? {} : { name }),
      outcome,
      ...(resourceVersion === undefined ||
      (request.dryRun && outcome === "created")
        ? {}
        : { resourceVersion }),
    });
    if (!request.dryRun) request.audit(titleOf(item), outcome);
    await pause();
  }
  if (faults.size > 0 && written.size === 0)
    throw refusalOf([...faults.values()], causes, items.length);
  return {
    apiVersion: "v1",
    kind: "ApplyResult",
    metadata: { resourceVersion: String(await store.revision()) },
    items: results,
    warnings: atMost(warnings),
    causes: atMost(causes),
  };
}
