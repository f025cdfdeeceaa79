/** Takes away what instances have registered whose certificates no longer stand. */
import { messageOf } from "../../core/errors.ts";
import type { Cancel, Clock } from "../../core/clock.ts";
import { defectIn, type Logger } from "../../core/log.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { Proof } from "../../identity/revoked.ts";
import type { Resource } from "../../resources/envelope.ts";
import type { KeyedQueue } from "../keyed-queue.ts";
import { workloadOf, type Peer } from "../push/peer.ts";
import type { Store } from "../store/store.ts";
import type { LeaseState } from "./lease.ts";
import { removeRegistered } from "./registered-workload.ts";

/** Milliseconds until what could not be removed is tried again. */
const RETRY = 5000;

export interface RemovalOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** By "NAMESPACE/NAME". */
  readonly leases: ReadonlyMap<string, LeaseState>;
  readonly queue: KeyedQueue;
  /** Why what a peer has proved does not stand; absent: it always does. */
  readonly faultOf?: (peer: Peer) => string | undefined;
  /** `left`: what is in its place. */
  readonly onGone: (workload: string, left: Resource | undefined) => void;
  readonly onTakenAway?: (workload: string, identity: SpiffeUri) => void;
}

export class Removal {
  readonly #options: RemovalOptions;
  readonly #retries = new Set<Cancel>();
  #closed = false;

  constructor(options: RemovalOptions) {
    this.#options = options;
  }

  /** The peer's certificate no longer stands. */
  async of(peer: Peer): Promise<void> {
    const { leases, faultOf } = this.#options;
    const workload = workloadOf(peer);
    const lease = leases.get(workload);
    if (lease?.identity === peer.identity && lease.keys.includes(peer.key))
      await this.#remove(
        workload,
        peer.identity,
        () => faultOf?.(peer) !== undefined,
      );
  }

  /** Every instance that `isOut` names. */
  async ofAll(isOut: (instance: Proof) => boolean): Promise<void> {
    for (const [workload, { identity }] of [...this.#options.leases]) {
      const isStill = (): boolean =>
        isOut({ uri: identity, instance: workload, certificate: undefined });
      if (isStill()) await this.#remove(workload, identity, isStill);
    }
  }

  close(): void {
    this.#closed = true;
    for (const cancel of this.#retries) cancel();
  }

  /** `isStill`: whether it is revoked yet, where it has to be tried again. */
  #remove(
    workload: string,
    identity: SpiffeUri,
    isStill: () => boolean,
  ): Promise<void> {
    const { store, logger, leases, queue } = this.#options;
    return queue.run(workload, async () => {
      const lease = leases.get(workload);
      if (lease?.identity !== identity) return;
      let left: Resource | undefined;
      try {
        left = await removeRegistered(store, lease);
      } catch (thrown) {
        logger.error(
          { workload, reason: messageOf(thrown) },
          "a revoked workload stays; trying again",
        );
        this.#tryLater(workload, lease, isStill);
        return;
      }
      lease.cancelExpiry();
      this.#options.onGone(workload, left);
      this.#options.onTakenAway?.(workload, identity);
      logger.warn({ workload, identity }, "a revoked workload is removed");
    });
  }

  /** Where another key holds it by then, it was registered anew. */
  #tryLater(workload: string, lease: LeaseState, isStill: () => boolean): void {
    if (this.#closed) return;
    const { clock, leases } = this.#options;
    const [key] = lease.keys;
    const cancel = clock.after(RETRY, () => {
      this.#retries.delete(cancel);
      if (leases.get(workload) === lease && lease.keys[0] === key && isStill())
        this.#remove(workload, lease.identity, isStill).catch(
          defectIn(this.#options.logger, "the removal of a revoked workload"),
        );
    });
    this.#retries.add(cancel);
  }
}
