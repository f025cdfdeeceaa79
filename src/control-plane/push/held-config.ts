/** What the control plane knows of one sidecar's config, and how each response of the sidecar changes it: pure. */
import type { WallMs } from "../../core/units.ts";
import { ownCopy } from "../../core/text/own-copy.ts";
import type { DeltaRequest, UnreadReport } from "../../push/messages.ts";
import { NODE } from "../../push/names.ts";
import type { Store } from "../store/store.ts";
import type { Held, ScopedSet } from "./catalogue/scoped-set.ts";
import type { ConfigVersion } from "./status.ts";

/** One complete push. */
export interface Offer {
  readonly set: ScopedSet;
  readonly version: ConfigVersion;
}

export interface Refusal extends Offer {
  readonly reason: string;
  /** Wall milliseconds. */
  readonly at: number;
}

export interface HeldConfig {
  readonly held: Held;
  /** Digest of the last push that arrived whole; undefined where there is none on this stream. */
  readonly heldDigest?: string | undefined;
  /** The resources of the last push that it acknowledged on this stream. */
  readonly inForce?: ScopedSet | undefined;
  /** On this stream or, as the sidecar says itself, before. */
  readonly acknowledged?: ConfigVersion | undefined;
  /** Wall milliseconds. */
  readonly receivedAt?: WallMs | undefined;
  readonly refusal?: Refusal | undefined;
  /** What it says not to know of that push. */
  readonly unread?: UnreadReport | undefined;
}

/** What a refusal's reason is cut to: it comes from the peer and is kept. */
const LONGEST_REASON = 2048;

/** What a stream's first request says that the sidecar holds. `own`: the store that is pushed from, and the revision that is pushed. */
export function heldAtStart(
  { node, initialVersions }: Pick<DeltaRequest, "node" | "initialVersions">,
  own: { readonly store: Pick<Store, "id" | "has">; readonly revision: number },
): HeldConfig {
  const metadata = node?.metadata ?? {};
  const acknowledged = versionIn(metadata);
  const receivedAt = Number(metadata[NODE.receivedAt]);
  // Versions of another history compare with nothing: only the names count then, and all is sent.
  const comparable =
    acknowledged?.store === own.store.id &&
    acknowledged.revision <= own.revision &&
    !isParted(acknowledged, own.store);
  return {
    held: new Map(
      Array.from(initialVersions, ([name, version]) => [
        name,
        { version: comparable ? version : "" },
      ]),
    ),
    ...(acknowledged === undefined ? {} : { acknowledged }),
    ...(receivedAt > 0 ? { receivedAt } : {}),
  };
}

/** Characters; a digest has 64. Thousands of sidecars are kept that have left. */
const LONGEST_SAID = 128;

/** What a sidecar says of itself; it is kept, and shown. */
export function saidIn(
  metadata: Readonly<Record<string, string>>,
  key: string,
): string | undefined {
  const text = metadata[key];
  if (text === undefined || text.length <= LONGEST_SAID) return text;
  return ownCopy(text.slice(0, LONGEST_SAID));
}

function versionIn(
  metadata: Readonly<Record<string, string>>,
): ConfigVersion | undefined {
  const store = saidIn(metadata, NODE.store);
  const branch = saidIn(metadata, NODE.branch);
  const revision = Number(metadata[NODE.revision]);
  if (store === undefined || !Number.isSafeInteger(revision)) return undefined;
  const known = {
    store,
    revision,
    digest: saidIn(metadata, NODE.digest) ?? "",
  };
  return branch === undefined ? known : { ...known, branch };
}

/** Whether the version is one that the store has had no more, since a backup was put in its place. Older sidecars do not say enough to tell. */
export function isParted(
  { store, revision, branch }: ConfigVersion,
  own: Pick<Store, "id" | "has">,
): boolean {
  return (
    store === own.id && branch !== undefined && !own.has({ revision, branch })
  );
}

/** The sidecar has put the push in force. `at`: wall milliseconds. */
export function acknowledge(
  known: HeldConfig,
  { set, version }: Offer,
  at: number,
  unread?: UnreadReport,
): HeldConfig {
  return {
    ...arrived(known, set),
    inForce: set,
    acknowledged: version,
    receivedAt: at,
    refusal: undefined,
    unread,
  };
}

/**
 * The sidecar goes on with what it has. `whole`: the push had arrived to its end; a sidecar that refuses keeps what it was sent beside
 * what it serves, so that the next push need not repeat it.
 */
export function refuse(
  known: HeldConfig,
  offer: Offer,
  { reason, at, whole }: { reason: string; at: number; whole: boolean },
): HeldConfig {
  const { set, version } = offer;
  return {
    ...(whole ? arrived(known, set) : known),
    refusal: { set, version, reason: reason.slice(0, LONGEST_REASON), at },
  };
}

function arrived(known: HeldConfig, set: ScopedSet): HeldConfig {
  return { ...known, held: set, heldDigest: set.digest };
}
