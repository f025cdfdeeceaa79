/** What a balancer keeps of one endpoint: its load, since when it is there, and what hears when an attempt at it is over. */
import type { MonotonicMs } from "../../core/units.ts";
import { LONGEST_PENALTY } from "../outcome.ts";
import { recordOutcome, type Candidate, type Load } from "./algorithm.ts";
import { recordLatency } from "./peak-ewma.ts";

/** It is what a pick gives, so that a pick allocates nothing. */
export interface Handle<E> extends Candidate {
  readonly kind: "endpoint";
  readonly endpoint: E;
  readonly load: Load;
  readonly key: string;
  readonly probing: false;
  /** Monotonic milliseconds when it joined those that were there. */
  readonly since: number;
  open: boolean;
  done(
    latency: number | undefined,
    now: MonotonicMs,
    failed?: boolean,
    retryAfter?: number,
  ): void;
}

export function makeHandle<
  E extends { readonly key: string; readonly weight: number },
>(endpoint: E, load: Load, since: number): Handle<E> {
  return {
    kind: "endpoint",
    key: endpoint.key,
    endpoint,
    weight: Math.max(endpoint.weight, 1e-3),
    load,
    since,
    open: false,
    probing: false,
    done(latency, now, failed = false, retryAfter = 0) {
      load.inflight = Math.max(0, load.inflight - 1);
      if (latency === undefined) return;
      recordLatency(load, latency, now);
      recordOutcome(load, failed, now);
      if (retryAfter > 0)
        load.hotUntil = now + Math.min(retryAfter, LONGEST_PENALTY);
    },
  };
}
