/** How often an instance may ask for what others pay for: a registration is written and pushed to all callers, and a renewal is signed. */
import { status } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import { networkOf } from "../../core/text/network.ts";
import {
  TokenBuckets,
  type TokenBucketOptions,
} from "../../core/token-bucket.ts";
import { GrpcError } from "./grpc.ts";
import { workloadOf, type Peer } from "./peer.ts";

/** Requests a second, and at once: more than a sidecar sends whose application comes and goes at each look at it. */
export const REQUESTS: TokenBucketOptions = { rate: 1, burst: 30 };
/** Instances that are remembered; the one that asked longest ago makes room. */
const MOST_INSTANCES = 20_000;

export class Pace {
  readonly #clock: Pick<Clock, "now">;
  readonly #buckets = new TokenBuckets(REQUESTS, MOST_INSTANCES);

  constructor(clock: Pick<Clock, "now">) {
    this.#clock = clock;
  }

  /** Throws GrpcError where it asks too often. One that has its certificate elsewhere takes nothing from it. */
  take(peer: Peer): void {
    const asker = `${workloadOf(peer)} ${peer.identity} ${networkOf(peer.source)}`;
    if (!this.#buckets.take(asker, this.#clock.now()))
      throw new GrpcError(
        status.RESOURCE_EXHAUSTED,
        `more than ${REQUESTS.rate} request a second of one sidecar: wait a few seconds`,
      );
  }
}
