/** Writes the list of a request in one transaction of the store: what is right with whole namespaces, or with `atomic` all of it or nothing. */
import { inTurnOfItsOwn, pauses, type Pause } from "../../../core/slices.ts";
import type { Resource } from "../../../resources/envelope.ts";
import { ConflictError } from "../../store/store.ts";
import { nextVersion, revisionOf } from "../../store/write.ts";
import type { Cause } from "../errors.ts";
import type { ApiOptions } from "../options.ts";
import { judge, type Accepted } from "./judge.ts";
import { readItems, type ListRequest } from "./list.ts";
import { atMost } from "./refusals.ts";
import {
  NOT_DONE,
  resultOf,
  type Done,
  type ListResult,
  type OutcomeOf,
} from "./result.ts";

const WRITTEN = ["created", "configured", "unchanged"] as const;

export const OUTCOMES: readonly Outcome[] = [...WRITTEN, ...NOT_DONE];

type Written = (typeof WRITTEN)[number];

type Outcome = OutcomeOf<Written>;

export interface ApplyResult extends ListResult<"ApplyResult", Written> {
  readonly warnings: readonly Cause[];
}

/** A list that meets faster writers is judged again on what those wrote, so often. */
const MOST_TRIES = 8;

/** Throws ApiError where nothing of the list may be written. */
export async function applyList(
  options: ApiOptions,
  request: ListRequest<Outcome>,
): Promise<ApplyResult> {
  const { principal, atomic } = request;
  const pause = pauses(options.clock);
  const items = await readItems(request.body, principal, pause);
  for (let tries = 1; ; tries += 1) {
    const { accepted, faults, warnings } = await judge(items, {
      ...options,
      principal,
      atomic,
      pause,
    });
    try {
      const done = await write(accepted, request, options, pause);
      const { causes, ...result } = await resultOf(
        "ApplyResult",
        items,
        { faults, done },
        request,
        options,
        pause,
      );
      return { ...result, warnings: atMost(warnings), causes };
    } catch (thrown) {
      if (!(thrown instanceof ConflictError) || tries === MOST_TRIES)
        throw thrown;
    }
  }
}

/** By index. What was judged must still be there, or what was found of it does not hold: throws ConflictError. */
async function write(
  accepted: readonly Accepted[],
  { dryRun, author }: ListRequest<Outcome>,
  { store, clock }: ApiOptions,
  pause: Pause,
): Promise<ReadonlyMap<number, Done<Written>>> {
  const written = new Map<number, Done<Written>>();
  if (dryRun) {
    const wall = clock.wall();
    for (const { item, before } of accepted) {
      const revision = revisionOf(before) ?? 0;
      const next = nextVersion(before, item.resource, revision, wall);
      const { outcome, resourceVersion } = doneTo(
        before,
        next ?? before ?? item.resource,
      );
      // A new one has no version yet.
      written.set(
        item.index,
        outcome === "created" ? { outcome } : { outcome, resourceVersion },
      );
      await pause();
    }
    return written;
  }
  const done = await inTurnOfItsOwn(() =>
    store.transact(
      accepted.map(({ item, before }) => ({
        resource: item.resource,
        expected: revisionOf(before) ?? "absent",
      })),
      author,
    ),
  );
  for (const [at, { item }] of accepted.entries()) {
    const { before, resource } = done[at] ?? {};
    if (resource !== undefined)
      written.set(item.index, doneTo(before, resource));
  }
  return written;
}

function doneTo(before: Resource | undefined, now: Resource): Done<Written> {
  const { resourceVersion } = now.metadata;
  if (before === undefined) return { outcome: "created", resourceVersion };
  const outcome = before === now ? "unchanged" : "configured";
  return { outcome, resourceVersion };
}
