/** Takes away what instances have registered whose certificates no longer stand. */
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { Proof } from "../../identity/revoked.ts";
import type { Resource } from "../../resources/envelope.ts";
import type { KeyedQueue } from "../keyed-queue.ts";
import { workloadOf, type Peer } from "../push/peer.ts";
import type { Store } from "../store/store.ts";
import type { LeaseState } from "./lease.ts";
import { removeRegistered } from "./registered-workload.ts";

export interface RemovalOptions {
  readonly store: Store;
  readonly logger: Logger;
  /** By "NAMESPACE/NAME". */
  readonly leases: ReadonlyMap<string, LeaseState>;
  readonly queue: KeyedQueue;
  /** `left`: what is in its place. */
  readonly onGone: (workload: string, left: Resource | undefined) => void;
  readonly onTakenAway?: (workload: string, identity: SpiffeUri) => void;
}

export class Removal {
  readonly #options: RemovalOptions;

  constructor(options: RemovalOptions) {
    this.#options = options;
  }

  /** The peer's certificate no longer stands. */
  async of(peer: Peer): Promise<void> {
    const lease = this.#options.leases.get(workloadOf(peer));
    if (lease?.identity === peer.identity && lease.keys.includes(peer.key))
      await this.#remove(workloadOf(peer), peer.identity);
  }

  /** Every instance that `isOut` names. */
  async ofAll(isOut: (instance: Proof) => boolean): Promise<void> {
    for (const [workload, { identity }] of [...this.#options.leases])
      if (isOut({ uri: identity, instance: workload, certificate: undefined }))
        await this.#remove(workload, identity);
  }

  #remove(workload: string, identity: SpiffeUri): Promise<void> {
    const { store, logger, leases, queue } = this.#options;
    return queue.run(workload, async () => {
      const lease = leases.get(workload);
      if (lease?.identity !== identity) return;
      lease.cancelExpiry();
      const left = await removeRegistered(store, lease).catch(
        (thrown: unknown) => {
          const reason = messageOf(thrown);
          logger.error({ workload, reason }, "a revoked workload stays");
          return undefined;
        },
      );
      this.#options.onGone(workload, left);
      this.#options.onTakenAway?.(workload, identity);
      logger.warn({ workload, identity }, "a revoked workload is removed");
    });
  }
}
