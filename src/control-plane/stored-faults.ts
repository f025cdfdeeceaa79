/** What an earlier version took into the store and this one refuses: sidecars refuse the config with it, so a person must hear of it after each start. */
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { pauses } from "../core/slices.ts";
import { formatKey, keyOf, type Resource } from "../resources/envelope.ts";
import type { Problem } from "../resources/kind.ts";
import { KINDS } from "../resources/registry.ts";
import { validate } from "../resources/validate.ts";
import { programDigest } from "../runtime/package.ts";
import type { Store } from "./store/store.ts";
import { revisionOf } from "./store/write.ts";

/** Logs one line a resource, so many at most. */
const MOST_TOLD = 20;
/** Resources that are looked at sooner than it is found out whether they need to be. */
const FEW = 1000;
/** The store's note of what this was found to be right by, and up to where. */
const NOTE = "judged";

export interface StoredFaultsOptions {
  readonly store: Store;
  /** What tells this program from any that may judge otherwise. */
  readonly program: () => Promise<string>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Looks in slices, for a large store takes seconds. What this program has judged it does not judge again at its next start: all that
 * has no later revision than a look at which nothing was refused.
 */
export async function tellOfStoredFaults(
  options: StoredFaultsOptions,
): Promise<void> {
  const { store, program, clock, logger, signal } = options;
  const revision = await store.revision();
  const all: Resource[] = [];
  for (const { kind } of KINDS) all.push(...(await store.list(kind)).resources);
  const judge = all.length > FEW ? await program() : undefined;
  const known =
    judge === undefined ? 0 : await judgedBy(judge, store, revision);
  const pause = pauses(clock);
  let refused = 0;
  for (const resource of all) {
    if ((revisionOf(resource) ?? Infinity) <= known) continue;
    await pause();
    if (signal.aborted) return;
    const validation = validate(resource);
    if (validation.ok) continue;
    refused += 1;
    if (refused <= MOST_TOLD) tell(resource, validation.problems, logger);
  }
  if (refused > MOST_TOLD)
    logger.error(
      { more: refused - MOST_TOLD },
      "more stored resources are refused",
    );
  if (judge !== undefined && refused === 0 && revision > known)
    await store.setNote(NOTE, `${judge} ${revision}`);
}

/** The revision up to which the program has judged all; 0 where it has not, or the store is at an earlier one than it was then. */
async function judgedBy(
  judge: string,
  store: Store,
  revision: number,
): Promise<number> {
  const [by, upTo] = (await store.note(NOTE))?.split(" ") ?? [];
  const known = Number(upTo);
  return by === judge && known <= revision ? known : 0;
}

function tell(
  resource: Resource,
  [first]: readonly Problem[],
  logger: Logger,
): void {
  logger.error(
    {
      resource: formatKey(keyOf(resource)),
      field: first?.path ?? "",
      reason: first?.message ?? "",
    },
    "a stored resource is refused by this version, and sidecars keep the config that they have until it is changed or deleted",
  );
}

/** Goes on beside all else; call the result to end it. */
export function judgeStored(
  options: Omit<StoredFaultsOptions, "program" | "signal">,
): () => Promise<void> {
  const stop = new AbortController();
  const { signal } = stop;
  const told = tellOfStoredFaults({
    ...options,
    program: programDigest,
    signal,
  }).catch((thrown: unknown) => {
    options.logger.error(
      { reason: messageOf(thrown) },
      "what the store holds could not be judged",
    );
  });
  return () => {
    stop.abort();
    return told;
  };
}
