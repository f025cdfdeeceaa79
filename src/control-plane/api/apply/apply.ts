/** Writes the list of a request in one transaction of the store: what is right with whole namespaces, or with `atomic` all of it or nothing. */
import { nextTurn, pauses, type Pause } from "../../../core/slices.ts";
import type { Resource } from "../../../resources/envelope.ts";
import { ConflictError } from "../../store/store.ts";
import { nextVersion, revisionOf } from "../../store/write.ts";
import type { Principal } from "../../tokens.ts";
import { refusal } from "../access.ts";
import { ApiError, type Cause } from "../errors.ts";
import type { ApiOptions } from "../options.ts";
import { judge, titleOf, type Accepted, type Judgement } from "./judge.ts";
import { readItems, type Fault, type Item } from "./list.ts";

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

export interface ApplyRequest {
  readonly principal: Principal;
  readonly body: unknown;
  readonly atomic: boolean;
  readonly dryRun: boolean;
  /** Told of each item that was to be written. */
  readonly audit: (resource: string, outcome: Outcome) => void;
}

/** Causes and warnings that a result has at most, each; the rest are counted. */
export const MOST_TOLD = 500;

/** A list that meets faster writers is judged again on what those wrote, so often. */
const MOST_TRIES = 8;

/** Throws ApiError where nothing of the list may be written. */
export async function applyList(
  options: ApiOptions,
  request: ApplyRequest,
): Promise<ApplyResult> {
  const { principal, atomic } = request;
  if (principal.role === "viewer")
    throw new ApiError("Forbidden", refusal(principal, "write", "") ?? "");
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
  { dryRun }: ApplyRequest,
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
  request: ApplyRequest,
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

/** A message names so many causes; `details` have more. */
const MOST_NAMED = 5;

/** As one: what the token does not allow comes before what another has written, and that before what is wrong in itself. */
function refusalOf(
  faults: readonly Fault[],
  causes: readonly Cause[],
  count: number,
): ApiError {
  const reasons = new Set(faults.map(({ reason }) => reason));
  const reason = reasons.has("Forbidden")
    ? "Forbidden"
    : reasons.has("Conflict")
      ? "Conflict"
      : "Invalid";
  const named = causes
    .slice(0, MOST_NAMED)
    .map(({ field, message }) => `${field}: ${message}`);
  const more = causes.length - named.length;
  return new ApiError(
    reason,
    `nothing of the list was changed, for ${faults.length} of ${count} resources are refused: ${named.join("; ")}${more > 0 ? `; and ${more} more` : ""}`,
    atMost(causes),
  );
}

function atMost(causes: readonly Cause[]): readonly Cause[] {
  return causes.length <= MOST_TOLD
    ? causes
    : [
        ...causes.slice(0, MOST_TOLD),
        { field: "", message: `and ${causes.length - MOST_TOLD} more` },
      ];
}
