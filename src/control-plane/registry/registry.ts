/** Leases of workloads: registered by their sidecars, alive while the sidecar's stream is, unconfirmed a while after it, and then gone where it can be spared (`expiry.ts`). The store is written at registration, change, loss and removal alone. */
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { defectIn, type Logger } from "../../core/log.ts";
import type { SpiffeUri } from "../../core/units.ts";
import { canonicalAddress } from "../../core/text/network.ts";
import { keyOf, type Resource } from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import {
  WORKLOAD,
  workloadSettings,
  type WorkloadResource,
} from "../../resources/workload/schema.ts";
import { startClaims, type Claims } from "./claims.ts";
import type { ReportRequest } from "../../push/messages.ts";
import { KeyedQueue } from "../keyed-queue.ts";
import type { Lease, LeaseState, Unconfirmed } from "./lease.ts";
import { Expiry, type MeshAround } from "./expiry.ts";
import { markOf } from "./marks.ts";
import { OpenStreams } from "./open-streams.ts";
import { workloadOf, type Peer } from "../push/peer.ts";
import {
  holderOf,
  nameConflict,
  removeRegistered,
  runningElsewhere,
  workloadResource,
} from "./registered-workload.ts";
import { Names, type Instance } from "./names.ts";
import { Removal } from "./removal.ts";
import { RegistrationError } from "./registration-error.ts";
import { ConflictError, type Store } from "../store/store.ts";

/** Milliseconds: below, a hiccup of the network empties the mesh; above, the dead are called for too long. */
export const TTL_BOUNDS = { least: 1000, most: 600_000 } as const;

/** Renewals that may be in progress before the newest key registers. */
const MOST_KEYS = 4;

/** Writes of one registration that are tried, where others write the same Workload. */
const MOST_CONFLICTS = 5;

export interface RegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Milliseconds after the start in which nothing goes; GRACE where absent. */
  readonly grace?: number;
  /** Why what a peer has proved does not stand; absent: it always does. */
  readonly faultOf?: (peer: Peer) => string | undefined;
  /** A person took away what an instance had registered of which nothing was heard. */
  readonly onTakenAway?: (workload: string, identity: SpiffeUri) => void;
}

/** Takes over the leases that the store holds; each has the grace period to be taken up again. */
export async function startRegistry(
  options: RegistryOptions,
): Promise<Registry> {
  const { store, clock, logger } = options;
  const leases = new Map<string, LeaseState>();
  const claims = await startClaims({
    store,
    clock,
    logger,
    isLeased: (workload) => leases.has(workload),
    onReplaced: (workload) => registry.replaced(workload),
  });
  const registry: Registry = new Registry(options, leases, claims);
  const { resources } = await store.list(WORKLOAD.kind);
  for (const resource of resources) registry.takeOver(resource);
  return registry;
}

export class Registry {
  readonly #options: RegistryOptions;
  /** By "NAMESPACE/NAME". */
  readonly #leases: Map<string, LeaseState>;
  readonly #claims: Claims;
  readonly #expiry: Expiry;
  readonly #streams = new OpenStreams();
  readonly #queue = new KeyedQueue();
  readonly #names: Names;
  /** For instances whose certificates no longer stand. */
  readonly removal: Removal;
  #closed = false;

  constructor(
    options: RegistryOptions,
    leases: Map<string, LeaseState>,
    claims: Claims,
  ) {
    this.#options = options;
    this.#leases = leases;
    this.#claims = claims;
    const { store } = options;
    this.#names = new Names({ store, leases, streams: this.#streams });
    this.removal = new Removal({
      ...options,
      leases,
      queue: this.#queue,
      onGone: (workload, left) => this.#forget(workload, left),
    });
    this.#expiry = new Expiry({
      ...options,
      leases,
      queue: this.#queue,
      onGone: (workload, left) => this.#forget(workload, left),
    });
  }

  /** By what the mesh says, no Service loses its last endpoint to a lease. */
  spare(mesh: MeshAround): void {
    this.#expiry.mesh = mesh;
  }

  /** A Workload that was in the store at the start. */
  takeOver(resource: Resource): void {
    const identity = holderOf(resource);
    if (identity === undefined || !isKind(WORKLOAD, resource)) return;
    const key = keyOf(resource);
    const workload = `${key.namespace}/${key.name}`;
    const lease = this.#startLease(workload, resource, identity);
    const since = markOf(resource);
    if (since === undefined) this.#run(workload, lease);
    else this.#expiry.goOn(workload, lease, since);
  }

  /** Writes the peer's Workload and starts or renews its lease. Rejects with RegistrationError. */
  register(peer: Peer, spec: unknown): Promise<Lease> {
    const workload = workloadOf(peer);
    return this.#queue.run(workload, async () => {
      const fault = this.#options.faultOf?.(peer);
      if (fault !== undefined) throw new RegistrationError("forbidden", fault);
      const given = workloadResource(peer, spec);
      const address = this.#claims.check(peer, given.spec.address);
      const resource = { ...given, spec: { ...given.spec, address } };
      await this.#write(peer, resource);
      const lease = this.#startLease(workload, resource, peer.identity);
      lease.stored = undefined;
      // Its older keys have had their day; a newer one may come with the renewal in progress.
      lease.keys = lease.keys.includes(peer.key)
        ? lease.keys.slice(lease.keys.indexOf(peer.key))
        : [peer.key];
      this.#run(workload, lease);
      return this.#leaseOf(workload, lease);
    });
  }

  /** Ends the lease and removes the Workload. */
  deregister(peer: Peer): Promise<void> {
    const workload = workloadOf(peer);
    return this.#queue.run(workload, async () => {
      const lease = this.#leases.get(workload);
      if (lease === undefined || lease.identity !== peer.identity) return;
      const current = await this.#options.store.get(lease.key);
      this.#checkHolder(peer, workload, current);
      const left = await removeRegistered(this.#options.store, lease);
      lease.cancelExpiry();
      this.#forget(workload, left);
    });
  }

  /** A stream of the peer is open: its lease does not run. Call the result when it is over. */
  hold(peer: Peer): () => void {
    const workload = workloadOf(peer);
    const update = (): void => {
      const lease = this.#leases.get(workload);
      // A stream of another identity that bears the name says nothing of it.
      if (lease?.identity === peer.identity) this.#run(workload, lease);
    };
    this.#streams.open(peer);
    update();
    let over = false;
    return () => {
      if (over) return;
      over = true;
      this.#streams.close(peer);
      update();
    };
  }

  /** As `Names.nameFault`. */
  nameFault(instance: Instance): Promise<string | undefined> {
    return this.#names.nameFault(instance);
  }

  /** As `Names.untimelyFault`. */
  untimelyFault(peer: Peer): Promise<string | undefined> {
    return this.#names.untimelyFault(peer);
  }

  /** Its Workload is gone from the store, or a person's is there: where nobody hears of its sidecar, its lease and its address end with it. */
  replaced(workload: string): void {
    const forget = async (): Promise<void> => {
      const lease = this.#leases.get(workload);
      if (lease === undefined || !this.#expiry.isUnconfirmed(workload)) return;
      const left = await this.#options.store
        .get(lease.key)
        .catch(() => undefined);
      if (left !== undefined && holderOf(left) === lease.identity) return;
      lease.cancelExpiry();
      this.#forget(workload, left);
      this.#options.onTakenAway?.(workload, lease.identity);
    };
    this.#queue
      .run(workload, forget)
      .catch(defectIn(this.#options.logger, "the end of a lease"));
  }

  /** What the peer, as a caller, has seen of workloads that it has as endpoints: others are passed over, and it cannot speak of itself. */
  report(
    peer: Peer,
    seen: ReportRequest,
    has: (workload: string) => boolean,
  ): void {
    this.#expiry.report(peer, seen, has);
  }

  /** The peer goes on under a new key. */
  rekeyed(peer: Peer, key: string): void {
    const lease = this.#leases.get(workloadOf(peer));
    if (lease?.keys.includes(peer.key) === true)
      lease.keys = [...lease.keys, key].slice(-MOST_KEYS);
  }

  /** By "NAMESPACE/NAME". */
  lease(workload: string): Lease | undefined {
    const lease = this.#leases.get(workload);
    return lease === undefined ? undefined : this.#leaseOf(workload, lease);
  }

  /** How many there are, how many of them have run out, and whether none is ended for now. */
  get leases(): {
    readonly all: number;
    readonly unconfirmed: number;
    readonly preserved: boolean;
  } {
    return { all: this.#leases.size, ...this.#expiry.counts };
  }

  /** All of them, "NAMESPACE/NAME". */
  get registered(): Iterable<string> {
    return this.#leases.keys();
  }

  /** Those whose leases have run out, by "NAMESPACE/NAME". */
  unconfirmed(): Promise<readonly (readonly [string, Unconfirmed])[]> {
    return this.#expiry.all();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#expiry.close();
    this.removal.close();
    await this.#claims.close();
    for (const lease of this.#leases.values()) lease.cancelExpiry();
    await this.#queue.idle();
  }

  #leaseOf(workload: string, lease: LeaseState): Lease {
    const { identity, ready, unreadyPorts } = lease;
    const held = this.#streams.isHeld(workload, identity);
    const unconfirmed = this.#expiry.unconfirmed(workload, lease);
    return {
      ...{ workload, identity, ready, held },
      ...(unreadyPorts === undefined ? {} : { unreadyPorts }),
      confirmed: unconfirmed === undefined,
      ...(unconfirmed === undefined ? {} : { unconfirmed }),
    };
  }

  #startLease(
    workload: string,
    resource: WorkloadResource,
    identity: SpiffeUri,
  ): LeaseState {
    const { ttl, ready, unreadyPorts } = workloadSettings(resource.spec);
    const lease: LeaseState = this.#leases.get(workload) ?? {
      key: keyOf(resource),
      identity,
      keys: [],
      ttl,
      ready,
      unreadyPorts,
      cancelExpiry: () => undefined,
      ranOutAt: undefined,
      keptFor: undefined,
      mark: undefined,
      stored: undefined,
    };
    lease.ttl = Math.min(TTL_BOUNDS.most, Math.max(TTL_BOUNDS.least, ttl));
    lease.ready = ready;
    lease.unreadyPorts = unreadyPorts;
    this.#leases.set(workload, lease);
    return lease;
  }

  /** There is a sign of its sidecar. */
  #run(workload: string, lease: LeaseState): void {
    const held = this.#streams.isHeld(workload, lease.identity);
    this.#expiry.run(workload, lease, held || this.#closed);
  }

  /** `left`: what is in its place. */
  #forget(workload: string, left: Resource | undefined): void {
    this.#leases.delete(workload);
    this.#expiry.forget(workload);
    if (left !== undefined && isKind(WORKLOAD, left)) this.#claims.put(left);
    else this.#claims.release(workload);
  }

  /** An address that the peer has now, by its own connection, is no longer that of one whose lease has run out. */
  async #takeOverPlaces(peer: Peer, resource: WorkloadResource): Promise<void> {
    const { store, logger } = this.#options;
    const { workload } = this.#claims.conflict(resource) ?? {};
    if (workload === undefined || !this.#expiry.isUnconfirmed(workload)) return;
    const lease = this.#leases.get(workload);
    if (canonicalAddress(peer.source) !== resource.spec.address || !lease)
      return;
    lease.cancelExpiry();
    this.#forget(workload, await removeRegistered(store, lease));
    logger.warn(
      { workload, by: workloadOf(peer) },
      "the workload is removed: its lease has run out, and another has its address",
    );
  }

  /** Rejects with RegistrationError. */
  async #write(peer: Peer, resource: WorkloadResource): Promise<void> {
    const { store } = this.#options;
    const workload = workloadOf(peer);
    const key = keyOf(resource);
    for (let attempt = 1; ; attempt += 1) {
      const current = await store.get(key);
      this.#checkHolder(peer, workload, current);
      // Before it is written: two that come at once do not both get it.
      await this.#takeOverPlaces(peer, resource);
      this.#claims.take(resource);
      try {
        await store.put(
          resource,
          current === undefined
            ? "absent"
            : Number(current.metadata.resourceVersion),
        );
        return;
      } catch (thrown) {
        if (current !== undefined && isKind(WORKLOAD, current))
          this.#claims.put(current);
        else this.#claims.release(workload);
        if (!(thrown instanceof ConflictError) || attempt === MOST_CONFLICTS)
          throw new RegistrationError("failed", messageOf(thrown));
      }
    }
  }

  /** Throws RegistrationError where the name is not the peer's to take. */
  #checkHolder(
    peer: Peer,
    workload: string,
    current: Resource | undefined,
  ): void {
    const lease = this.#leases.get(workload);
    const taken = nameConflict(
      workload,
      peer.identity,
      lease?.identity,
      current,
    );
    if (taken !== undefined) throw new RegistrationError("taken", taken);
    if (lease === undefined || lease.keys.includes(peer.key)) return;
    // The same identity with another key is the same instance come back without its state, or a second one of the same name.
    const others = this.#streams
      .keysOf(workload, peer.identity)
      .filter((key) => lease.keys.includes(key));
    if (others.length > 0)
      throw new RegistrationError("taken", runningElsewhere(workload));
  }
}
