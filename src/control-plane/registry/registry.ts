/** Leases of workloads: registered by their sidecars, alive while the sidecar's stream is, gone a while after it. The store is written at registration, change and expiry alone. */
import type { Cancel, Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { SpiffeUri } from "../../core/units.ts";
import { accountOf } from "../../resources/ownership/address-owners.ts";
import {
  formatName,
  keyOf,
  type Resource,
  type ResourceKey,
} from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import {
  WORKLOAD,
  workloadSettings,
  type WorkloadResource,
} from "../../resources/workload/schema.ts";
import { startClaims, type Claims } from "./claims.ts";
import { KeyedQueue } from "../keyed-queue.ts";
import { OpenStreams } from "./open-streams.ts";
import { workloadOf, type Peer } from "../push/peer.ts";
import {
  holderOf,
  nameConflict,
  runningElsewhere,
  workloadResource,
} from "./registered-workload.ts";
import { RegistrationError } from "./registration-error.ts";
import { ConflictError, type Store } from "../store/store.ts";

/** Milliseconds after the start in which nothing expires: sidecars come back in this time (leases, design). */
export const GRACE = 60_000;

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
  /** GRACE where absent. */
  readonly grace?: number;
}

/** Who wants a name. */
export type Instance = Pick<
  Peer,
  "namespace" | "serviceAccount" | "name" | "identity"
>;

export interface Lease {
  /** "NAMESPACE/NAME" */
  readonly workload: string;
  /** SPIFFE id of the holder. */
  readonly identity: SpiffeUri;
  readonly ready: boolean;
  /** Whether a stream holds it. */
  readonly held: boolean;
}

interface State {
  readonly key: ResourceKey;
  readonly identity: SpiffeUri;
  /** Keys that speak for it, oldest first; none after a restart, until its sidecar is back. */
  keys: readonly string[];
  ttl: number;
  ready: boolean;
  cancelExpiry: Cancel;
}

/** Takes over the leases that the store holds; each has the grace period to be taken up again. */
export async function startRegistry(
  options: RegistryOptions,
): Promise<Registry> {
  const { store, clock, logger } = options;
  const graceEnds = clock.now() + (options.grace ?? GRACE);
  const leases = new Map<string, State>();
  const claims = await startClaims({
    store,
    clock,
    logger,
    isLeased: (workload) => leases.has(workload),
  });
  const registry = new Registry(options, leases, claims, graceEnds);
  const { resources } = await store.list(WORKLOAD.kind);
  for (const resource of resources) registry.takeOver(resource);
  return registry;
}

export class Registry {
  readonly #options: RegistryOptions;
  /** By "NAMESPACE/NAME". */
  readonly #leases: Map<string, State>;
  readonly #claims: Claims;
  /** Monotonic milliseconds. */
  readonly #graceEnds: number;
  readonly #streams = new OpenStreams();
  readonly #queue = new KeyedQueue();
  #closed = false;

  constructor(
    options: RegistryOptions,
    leases: Map<string, State>,
    claims: Claims,
    graceEnds: number,
  ) {
    this.#options = options;
    this.#leases = leases;
    this.#claims = claims;
    this.#graceEnds = graceEnds;
  }

  /** A Workload that was in the store at the start. */
  takeOver(resource: Resource): void {
    const identity = holderOf(resource);
    if (identity === undefined || !isKind(WORKLOAD, resource)) return;
    const key = keyOf(resource);
    const workload = `${key.namespace}/${key.name}`;
    this.#run(workload, this.#startLease(workload, resource, identity));
  }

  /** Writes the peer's Workload and starts or renews its lease. Rejects with RegistrationError. */
  register(peer: Peer, spec: unknown): Promise<Lease> {
    const workload = workloadOf(peer);
    return this.#queue.run(workload, async () => {
      const given = workloadResource(peer, spec);
      const address = this.#claims.check(peer, given.spec.address);
      const resource = { ...given, spec: { ...given.spec, address } };
      await this.#write(peer, resource);
      const lease = this.#startLease(workload, resource, peer.identity);
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
      const left = await this.#removeOwn(lease);
      lease.cancelExpiry();
      this.#forget(workload, left);
    });
  }

  /** A stream of the peer is open: its lease does not run. Call the result when it is over. */
  hold(peer: Peer): () => void {
    const workload = workloadOf(peer);
    const update = (): void => {
      const lease = this.#leases.get(workload);
      if (lease !== undefined) this.#run(workload, lease);
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

  /**
   * Why an instance with a new key may not have the name; undefined where it may: nobody has it, a person's Workload describes it, or
   * one of the same identity had it and is gone, such as itself before it lost its state.
   */
  async nameFault(instance: Instance): Promise<string | undefined> {
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
    const conflict = nameConflict(
      workload,
      identity,
      this.#leases.get(workload)?.identity,
      describes ? undefined : current,
    );
    if (conflict !== undefined) return conflict;
    return this.#streams.isHeld(workload, identity)
      ? runningElsewhere(workload)
      : undefined;
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

  async close(): Promise<void> {
    this.#closed = true;
    await this.#claims.close();
    for (const lease of this.#leases.values()) lease.cancelExpiry();
    await this.#queue.idle();
  }

  #leaseOf(workload: string, { identity, ready }: State): Lease {
    const held = this.#streams.isHeld(workload, identity);
    return { workload, identity, ready, held };
  }

  #startLease(
    workload: string,
    resource: WorkloadResource,
    identity: SpiffeUri,
  ): State {
    const { ttl, ready } = workloadSettings(resource.spec);
    const lease: State = this.#leases.get(workload) ?? {
      key: keyOf(resource),
      identity,
      keys: [],
      ttl,
      ready,
      cancelExpiry: () => undefined,
    };
    lease.ttl = Math.min(TTL_BOUNDS.most, Math.max(TTL_BOUNDS.least, ttl));
    lease.ready = ready;
    this.#leases.set(workload, lease);
    return lease;
  }

  /** Runs the lease out, unless a stream holds it. */
  #run(workload: string, lease: State): void {
    const { clock } = this.#options;
    lease.cancelExpiry();
    lease.cancelExpiry = () => undefined;
    if (this.#streams.isHeld(workload, lease.identity) || this.#closed) return;
    const left = Math.max(lease.ttl, this.#graceEnds - clock.now());
    lease.cancelExpiry = clock.after(left, () => {
      void this.#queue.run(workload, () => this.#expire(workload, lease));
    });
  }

  async #expire(workload: string, lease: State): Promise<void> {
    const { logger } = this.#options;
    if (
      this.#leases.get(workload) !== lease ||
      this.#streams.isHeld(workload, lease.identity) ||
      this.#closed
    )
      return;
    try {
      this.#forget(workload, await this.#removeOwn(lease));
      logger.warn(
        { workload },
        "the lease has run out without a sign of its sidecar: the workload is removed",
      );
    } catch (thrown) {
      logger.error(
        { workload, reason: messageOf(thrown) },
        "an expired workload cannot be removed; trying again",
      );
      this.#run(workload, lease);
    }
  }

  /** `left`: what is in its place. */
  #forget(workload: string, left: Resource | undefined): void {
    this.#leases.delete(workload);
    if (left !== undefined && isKind(WORKLOAD, left)) this.#claims.put(left);
    else this.#claims.release(workload);
  }

  /** What a person has put in its place stays, and is returned. */
  async #removeOwn(lease: State): Promise<Resource | undefined> {
    const { store } = this.#options;
    const current = await store.get(lease.key);
    if (current === undefined || holderOf(current) !== lease.identity)
      return current;
    await store.remove(lease.key, Number(current.metadata.resourceVersion));
    return undefined;
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
