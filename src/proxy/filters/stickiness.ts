/**
 * What a request keeps to: its share of a split, by the consistent hash of the Service that was called, and its endpoint of the backend, by
 * the backend's own. Where both go by the same trait it is read once, so that a caller without the cookie gets one cookie.
 */
import { inTurn, type HeaderEdits } from "../../policy/routing/header-edits.ts";
import type { Cluster, SelfDescription } from "../../policy/snapshot.ts";
import type { ConsistentHash } from "../../resources/traffic-policy/load-balancing.ts";
import { affinityOf, type Affinity, type RequestTraits } from "./affinity.ts";

/** The hash of the called Service; undefined where it asks for none, or the request has nothing to be told apart by. */
export function affinityTo(
  called: Cluster,
  stream: RequestTraits,
  self: SelfDescription,
): Affinity | undefined {
  const { consistentHash } = called.settings.loadBalancer;
  return consistentHash === undefined
    ? undefined
    : affinityOf(consistentHash, stream, self);
}

/**
 * Where the request stands among the weights, in [0, 1): always at the same place, so that a share that grows keeps the callers that it has.
 * Mixed again, for the requests of one share must not be neighbours on the ring of its endpoints.
 */
export function placeInSplit({ hash }: Affinity): number {
  let mixed = Math.imul(hash ^ 0x9e3779b9, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35);
  return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
}

export interface Cached {
  /** The endpoint's. */
  readonly hash: number | undefined;
  /** Cookies for a caller that had none. */
  readonly edits: HeaderEdits | undefined;
}

/** The hash for the endpoints of `backend`, and what the caller is given; `split` is that of the called Service. */
export function keptTo(
  called: Cluster,
  backend: Cluster,
  split: Affinity | undefined,
  stream: RequestTraits,
  self: SelfDescription,
): Cached | undefined {
  const own = backend.settings.loadBalancer.consistentHash;
  if (own === undefined)
    return split?.edits === undefined
      ? undefined
      : { hash: undefined, edits: split.edits };
  const { consistentHash } = called.settings.loadBalancer;
  if (consistentHash !== undefined && sameTrait(consistentHash, own))
    return split;
  const affinity = affinityOf(own, stream, self);
  return {
    hash: affinity?.hash,
    edits: inTurn(split?.edits, affinity?.edits),
  };
}

function sameTrait(
  left: ConsistentHash<number>,
  right: ConsistentHash<number>,
): boolean {
  return (
    left.httpHeaderName?.toLowerCase() ===
      right.httpHeaderName?.toLowerCase() &&
    left.httpCookie?.name === right.httpCookie?.name &&
    left.useSourceIp === right.useSourceIp
  );
}
