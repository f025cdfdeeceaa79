/** What the stream of one sidecar is served with. */
import type { ServerDuplexStream } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import type { DeltaRequest } from "../../push/messages.ts";
import type { PushMeters } from "../meters.ts";
import type { Store } from "../store/store.ts";
import type { Debts } from "./asked/debts.ts";
import type { Feed } from "./feed.ts";
import type { Peer } from "./peer.ts";
import type { TrustOffer } from "./trust-push.ts";

/** Counts that all sessions add to. */
export interface Counters {
  pushes: number;
  acknowledged: number;
  refused: number;
  resources: number;
  removed: number;
  bytes: number;
}

export interface SessionOptions {
  readonly peer: Peer;
  readonly call: ServerDuplexStream<DeltaRequest, Buffer>;
  readonly feed: Feed;
  /** What is pushed from. */
  readonly store: Pick<Store, "id" | "branch" | "has">;
  /** Whether an operator lets this store take the place of the one that the sidecar knows, or its own later past. */
  readonly accepted: (known: { readonly store: string }) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly meters: Pick<PushMeters, "acknowledgedAfter">;
  /** What the instance has taken by what it asked for, on whichever stream. */
  readonly debts: Debts;
  /** The roots that it is to trust. */
  readonly trust: () => TrustOffer | undefined;
  /** It has responded to its first push, or to a later one. */
  readonly onResponse?: (() => void) | undefined;
  readonly onEnd: () => void;
}
