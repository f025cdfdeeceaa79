/** `?watch=1`: the changes of a collection as lines of JSON, for as long as the client reads. */
import { once } from "node:events";
import { PassThrough, type Readable } from "node:stream";
import type { Clock } from "../../core/clock.ts";
import { pauses } from "../../core/slices.ts";
import type { Resource } from "../../resources/envelope.ts";
import type { KindDefinition } from "../../resources/kind.ts";
import { CompactedError, type Change, type Store } from "../store/store.ts";
import { failure, toApiError, type StatusBody } from "./errors.ts";
import type { LabelSelector } from "./label-selector.ts";

/** One line. ADDED and MODIFIED both say what is there now; ERROR is the last line there is. */
export type WatchEvent =
  | {
      readonly type: "ADDED" | "MODIFIED" | "DELETED";
      readonly object: Resource;
    }
  | { readonly type: "BOOKMARK"; readonly object: Bookmark }
  | { readonly type: "ERROR"; readonly object: StatusBody };

/** Up to where the watch has come: a version to resume from that no change of the collection may have. */
export interface Bookmark {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly resourceVersion: string };
}

export interface WatchOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly definition: KindDefinition;
  readonly namespace: string | undefined;
  readonly matches: LabelSelector;
  /** Changes after this version; undefined begins with all that is there, as ADDED. */
  readonly after: number | undefined;
  readonly bookmarks: boolean;
  /** Aborts when the client has gone or the API closes. */
  readonly signal: AbortSignal;
}

const BOOKMARK_EVERY = 30_000;

/** Throws CompactedError before the first byte where the start is no longer in the history. */
export async function openWatch(options: WatchOptions): Promise<Readable> {
  const { store, clock, definition, signal } = options;
  const stream = new PassThrough();
  const known = new Set<string>();
  const send = async (event: WatchEvent): Promise<void> => {
    // A client that reads slowly holds the watch up, not our memory: the store's history is the queue.
    if (!stream.write(`${JSON.stringify(event)}\n`) && !signal.aborted)
      await once(stream, "drain", { signal });
  };
  const bookmarkAt = (revision: number): WatchEvent => ({
    type: "BOOKMARK",
    object: {
      apiVersion: definition.apiVersion,
      kind: definition.kind,
      metadata: { resourceVersion: String(revision) },
    },
  });

  const listing =
    options.after === undefined
      ? await store.list(definition.kind, options.namespace)
      : undefined;
  const start = listing?.revision ?? options.after ?? 0;
  if (listing === undefined) await checkStart(store, start);

  const run = async (): Promise<void> => {
    let revision = start;
    // What does not match is not sent, so no slow reader gives others their turn.
    const pause = pauses(clock);
    for (const object of listing?.resources ?? []) {
      await pause();
      if (!options.matches(object.metadata.labels)) continue;
      known.add(idOf(object));
      await send({ type: "ADDED", object });
    }
    if (options.bookmarks) await send(bookmarkAt(revision));
    const stopBookmarks = clock.every(BOOKMARK_EVERY, () => {
      // Also how a client that vanished without a word is noticed.
      if (options.bookmarks && !stream.writableNeedDrain)
        stream.write(`${JSON.stringify(bookmarkAt(revision))}\n`);
    });
    try {
      for await (const change of store.watch(start, signal)) {
        await pause();
        const event = eventOf(change, options, known);
        if (event !== undefined) await send(event);
        revision = change.revision;
      }
    } finally {
      stopBookmarks();
    }
  };

  run()
    .catch((thrown: unknown) => {
      if (signal.aborted) return;
      const event: WatchEvent = {
        type: "ERROR",
        object: failure(toApiError(thrown)),
      };
      stream.write(`${JSON.stringify(event)}\n`);
    })
    .finally(() => stream.end());
  return stream;
}

/** What a change means to this watch; undefined where it means nothing. */
function eventOf(
  change: Change,
  { definition, namespace, matches, after }: WatchOptions,
  known: Set<string>,
): WatchEvent | undefined {
  const { resource } = change;
  const { metadata } = resource;
  if (resource.kind !== definition.kind) return undefined;
  if (namespace !== undefined && metadata.namespace !== namespace)
    return undefined;
  const id = idOf(resource);
  const isMember = matches(metadata.labels);
  // A watch that began in mid-history does not know what matched before it.
  const wasKnown = known.has(id);
  const mayBeKnown =
    wasKnown || (after !== undefined && change.created !== true);
  if (change.type === "put" && isMember) {
    known.add(id);
    return { type: mayBeKnown ? "MODIFIED" : "ADDED", object: resource };
  }
  known.delete(id);
  if (change.type === "remove" ? !isMember && !wasKnown : !mayBeKnown)
    return undefined;
  return {
    type: "DELETED",
    object: {
      ...resource,
      metadata: { ...metadata, resourceVersion: String(change.revision) },
    },
  };
}

/** Looks whether the history still reaches back to `start`, so that the response can be a status and not a broken stream. */
async function checkStart(store: Store, start: number): Promise<void> {
  const newest = await store.revision();
  if (start === newest) return;
  if (start > newest) throw new CompactedError(start, 0, newest);
  const stop = new AbortController();
  for await (const _change of store.watch(start, stop.signal)) stop.abort();
}

function idOf({ metadata }: Resource): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}
