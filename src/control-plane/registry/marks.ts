/** The mark on a stored Workload that tells callers to prefer others, kept in step with what the registry wants. */
import { parseTimestamp } from "../../core/clock.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { Resource, ResourceKey } from "../../resources/envelope.ts";
import { UNCONFIRMED_SINCE } from "../../resources/workload/schema.ts";
import type { Store } from "../store/store.ts";
import { holderOf } from "./registered-workload.ts";

export interface Marked {
  readonly key: ResourceKey;
  readonly identity: SpiffeUri;
  /** What the mark should say, RFC 3339; undefined: there should be none. */
  mark: string | undefined;
  /** What the stored Workload says. */
  stored: string | undefined;
}

/** Wall milliseconds of the mark; undefined where there is none that can be read. */
export function markOf(resource: Resource): number | undefined {
  const text = resource.metadata.annotations?.[UNCONFIRMED_SINCE];
  const wall = text === undefined ? Number.NaN : parseTimestamp(text);
  return Number.isNaN(wall) ? undefined : wall;
}

/** Writes until the store says what is intended, which may change meanwhile. What others have put in its place stays as it is. Rejects where the store does. */
export async function writeMark(store: Store, marked: Marked): Promise<void> {
  while (marked.mark !== marked.stored) {
    const { mark, key } = marked;
    const current = await store.get(key);
    if (current === undefined || holderOf(current) !== marked.identity) return;
    const { [UNCONFIRMED_SINCE]: _before, ...rest } =
      current.metadata.annotations ?? {};
    const annotations =
      mark === undefined ? rest : { ...rest, [UNCONFIRMED_SINCE]: mark };
    await store.put(
      { ...current, metadata: { ...current.metadata, annotations } },
      Number(current.metadata.resourceVersion),
    );
    marked.stored = mark;
  }
}
