/** Keeps the catalogue in step with the store, and says when it is worth pushing: changes that come together go out together. */
import type { Clock } from "../../core/clock.ts";
import { wait } from "../../core/clock.ts";
import { fullJitter } from "../../core/backoff.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { Resource } from "../../resources/envelope.ts";
import { KINDS, kindNamed } from "../../resources/registry.ts";
import type { Change, Store } from "../store/store.ts";
import { CompactedError } from "../store/store.ts";
import { Catalogue } from "./catalogue/catalogue.ts";
import type { View } from "./catalogue/scopes.ts";

export interface GatherOptions {
  /** Milliseconds without a change after which what has gathered goes out. */
  readonly quiet: number;
  /** Milliseconds after the first change at which it goes out, quiet or not. */
  readonly most: number;
}

export const GATHER: GatherOptions = { quiet: 50, most: 500 };

export interface FeedOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly gather: GatherOptions;
  /** Things have settled, and the sets of these sidecars are others than before. */
  readonly onSettled: (moved: readonly View[]) => void;
}

export interface Feed {
  readonly catalogue: Catalogue;
  /** The store's revision that the catalogue shows. */
  readonly revision: number;
  close(): Promise<void>;
}

/** Resolves once the catalogue shows all that the store held at the call. */
export async function startFeed(options: FeedOptions): Promise<Feed> {
  const { store, clock, logger } = options;
  const catalogue = new Catalogue();
  const closing = new AbortController();
  const gathered = gather(clock, options.gather, () =>
    options.onSettled(catalogue.takeMoved()),
  );
  let revision = await list(store, catalogue);
  let failures = 0;

  const apply = (change: Change): void => {
    revision = Math.max(revision, change.revision);
    failures = 0;
    // Tokens and other records of the control plane's own are nobody's config.
    if (kindNamed(change.resource.kind) === undefined) return;
    if (change.type === "put") catalogue.put(change.resource);
    else catalogue.remove(change.resource, change.revision);
    gathered.changed();
  };

  const follow = async (): Promise<void> => {
    for await (const change of store.watch(revision, closing.signal))
      apply(change);
  };

  const run = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      try {
        await follow();
        // The store closed: there is nothing to follow until this process ends.
        return;
      } catch (thrown) {
        failures += 1;
        if (!(thrown instanceof CompactedError))
          logger.error(
            { reason: messageOf(thrown) },
            "the store's changes cannot be read; sidecars keep what they have while this goes on",
          );
        await wait(
          clock,
          fullJitter({ base: 50, max: 2000 }, failures, clock),
          closing.signal,
        );
        const before = revision;
        revision = await list(store, catalogue).catch(() => before);
        gathered.changed();
      }
    }
  };
  const running = run().catch((thrown: unknown) => {
    if (!closing.signal.aborted)
      logger.error({ reason: messageOf(thrown) }, "the config feed ended");
  });

  return {
    catalogue,
    get revision() {
      return revision;
    },
    async close() {
      closing.abort(new Error("the config feed is closing"));
      gathered.cancel();
      await running;
    },
  };
}

/** Lists are of several moments: what the earlier ones miss, the watch from the first revision brings. */
async function list(store: Store, catalogue: Catalogue): Promise<number> {
  const revision = await store.revision();
  const listings = await Promise.all(KINDS.map(({ kind }) => store.list(kind)));
  const resources: Resource[] = listings.flatMap((listing) => [
    ...listing.resources,
  ]);
  catalogue.replace(resources);
  return revision;
}

function gather(
  clock: Clock,
  { quiet, most }: GatherOptions,
  run: () => void,
): { changed(): void; cancel(): void } {
  let cancelQuiet = (): void => undefined;
  let cancelMost: (() => void) | undefined;
  const cancel = (): void => {
    cancelQuiet();
    cancelMost?.();
    cancelMost = undefined;
  };
  const flush = (): void => {
    cancel();
    run();
  };
  return {
    changed() {
      cancelQuiet();
      cancelQuiet = clock.after(quiet, flush);
      cancelMost ??= clock.after(most, flush);
    },
    cancel,
  };
}
