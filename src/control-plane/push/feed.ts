/** Keeps the catalogue in step with the store, and says when it is worth pushing: changes that come together go out together. */
import type { Clock } from "../../core/clock.ts";
import { wait } from "../../core/clock.ts";
import { fullJitter } from "../../core/backoff.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import {
  waitFor,
  watchSource,
  type Watch,
  type WatchSource,
} from "../../core/watch.ts";
import type { FieldSince } from "../../push/fields-since.ts";
import type { Resource } from "../../resources/envelope.ts";
import { KINDS, kindNamed } from "../../resources/registry.ts";
import type { Change, Store } from "../store/store.ts";
import { CompactedError } from "../store/store.ts";
import { Catalogue } from "./catalogue/catalogue.ts";
import type { MeshSource, MeshView } from "./catalogue/mesh-view.ts";
import type { View } from "./catalogue/scopes.ts";

export interface GatherOptions {
  /** Milliseconds without a change after which what has gathered goes out. */
  readonly quiet: number;
  /** Milliseconds after the first change at which it goes out, quiet or not. */
  readonly most: number;
}

export const GATHER: GatherOptions = { quiet: 50, most: 500 };

/** Milliseconds that a reader waits for changes that the store has and the catalogue has not. */
const LONGEST_WAIT = 1000;

export interface FeedOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly gather: GatherOptions;
  /** What older sidecars do not know; FIELDS_SINCE where absent. */
  readonly fieldsSince?: readonly FieldSince[];
  /** Things have settled, and the sets of these sidecars are others than before. */
  readonly onSettled: (moved: readonly View[]) => void;
}

/** Resolves once the catalogue shows all that the store held at the call. */
export async function startFeed(options: FeedOptions): Promise<Feed> {
  const catalogue = new Catalogue(options.fieldsSince);
  const revision = await list(options.store, catalogue);
  return new Feed(options, catalogue, revision);
}

export class Feed implements MeshSource {
  readonly catalogue: Catalogue;
  readonly #options: FeedOptions;
  readonly #revision: WatchSource<number>;
  readonly #closing = new AbortController();
  readonly #gathered: ReturnType<typeof gather>;
  readonly #running: Promise<void>;
  #failures = 0;

  constructor(options: FeedOptions, catalogue: Catalogue, revision: number) {
    const { clock, logger } = options;
    this.#options = options;
    this.catalogue = catalogue;
    this.#revision = watchSource(revision);
    this.#gathered = gather(clock, options.gather, () =>
      options.onSettled(catalogue.takeMoved()),
    );
    this.#running = this.#run().catch((thrown: unknown) => {
      if (!this.#closing.signal.aborted)
        logger.error({ reason: messageOf(thrown) }, "the config feed ended");
    });
  }

  /** The store's revision that the catalogue shows. */
  get revision(): number {
    return this.#revision.value;
  }

  async current(): Promise<{ mesh: MeshView; revision: number }> {
    const { store, clock } = this.#options;
    const newest = await store.revision();
    if (this.revision < newest)
      await reached(this.#revision, newest, clock, this.#closing.signal);
    if (this.revision >= newest)
      return { mesh: this.catalogue.mesh, revision: this.revision };
    // Changes cannot be followed just now: a question gets what a look at the whole store says.
    const fresh = new Catalogue();
    const revision = await list(store, fresh);
    return { mesh: fresh.mesh, revision };
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("the config feed is closing"));
    this.#gathered.cancel();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted)
      try {
        const { store } = this.#options;
        for await (const change of store.watch(this.revision, signal))
          this.#apply(change);
        // The store closed: there is nothing to follow until this process ends.
        return;
      } catch (thrown) {
        await this.#recover(thrown);
      }
  }

  #apply({ type, resource, revision }: Change): void {
    this.#failures = 0;
    // Tokens and other records of the control plane's own are nobody's config.
    if (kindNamed(resource.kind) !== undefined) {
      if (type === "put") this.catalogue.put(resource);
      else this.catalogue.remove(resource, revision);
      this.#gathered.changed();
    }
    this.#revision.set(Math.max(this.revision, revision));
  }

  /** What the watch has missed, or cannot tell, a list says. */
  async #recover(thrown: unknown): Promise<void> {
    const { store, clock, logger } = this.#options;
    this.#failures += 1;
    if (!(thrown instanceof CompactedError))
      logger.error(
        { reason: messageOf(thrown) },
        "the store's changes cannot be read; sidecars keep what they have while this goes on",
      );
    await wait(
      clock,
      fullJitter({ base: 50, max: 2000 }, this.#failures, clock),
      this.#closing.signal,
    );
    const before = this.revision;
    this.#revision.set(await list(store, this.catalogue).catch(() => before));
    this.#gathered.changed();
  }
}

/** Resolves once the feed has come so far, or has had the time to. */
async function reached(
  revision: Watch<number>,
  newest: number,
  clock: Clock,
  closing: AbortSignal,
): Promise<void> {
  const late = new AbortController();
  const cancel = clock.after(LONGEST_WAIT, () => late.abort());
  await waitFor(
    revision,
    (value) => value >= newest,
    AbortSignal.any([closing, late.signal]),
  ).catch(() => undefined);
  cancel();
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
