/** Whether an instance may have a name: another may have it, or run under it. */
import { accountOf } from "../../resources/ownership/address-owners.ts";
import { formatName } from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import { WORKLOAD } from "../../resources/workload/schema.ts";
import { workloadOf, type Peer } from "../push/peer.ts";
import type { Store } from "../store/store.ts";
import type { LeaseState } from "./lease.ts";
import type { OpenStreams } from "./open-streams.ts";
import { nameConflict, runningElsewhere } from "./registered-workload.ts";

/** The instance that wants a name. */
export type Instance = Pick<
  Peer,
  "namespace" | "serviceAccount" | "name" | "identity"
>;

export interface NamesOptions {
  readonly store: Pick<Store, "get">;
  /** By "NAMESPACE/NAME". */
  readonly leases: ReadonlyMap<string, LeaseState>;
  readonly streams: OpenStreams;
}

export class Names {
  readonly #options: NamesOptions;

  constructor(options: NamesOptions) {
    this.#options = options;
  }

  /**
   * Why an instance with a new key may not have the name; undefined where it may: nobody has it, a person's Workload describes it, or
   * one of the same identity had it and is gone, such as itself before it lost its state.
   */
  async nameFault(instance: Instance): Promise<string | undefined> {
    const { namespace, name, identity } = instance;
    const conflict = await this.#conflictOf(instance);
    if (conflict !== undefined) return conflict;
    const workload = formatName(namespace, name);
    return this.#options.streams.isHeld(workload, identity)
      ? runningElsewhere(workload)
      : undefined;
  }

  /** Why a peer may not go on with a certificate that is not valid: its name is another's by now, or its instance runs under another key. */
  async untimelyFault(peer: Peer): Promise<string | undefined> {
    const conflict = await this.#conflictOf(peer);
    if (conflict !== undefined) return conflict;
    const workload = workloadOf(peer);
    if (this.#options.leases.get(workload)?.keys.includes(peer.key) === true)
      return undefined;
    return this.#options.streams
      .keysOf(workload, peer.identity)
      .some((key) => key !== peer.key)
      ? runningElsewhere(workload)
      : undefined;
  }

  /** Another holder of the instance's name. */
  async #conflictOf(instance: Instance): Promise<string | undefined> {
    const { namespace, serviceAccount, name, identity } = instance;
    const workload = formatName(namespace, name);
    const current = await this.#options.store.get({
      kind: WORKLOAD.kind,
      namespace,
      name,
    });
    const describes =
      current !== undefined &&
      isKind(WORKLOAD, current) &&
      accountOf(current) === formatName(namespace, serviceAccount);
    return nameConflict(
      workload,
      identity,
      this.#options.leases.get(workload)?.identity,
      describes ? undefined : current,
    );
  }
}
