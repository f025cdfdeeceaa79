/** Leases of workloads: registered by their sidecars, alive while the sidecar's stream is, gone a while after it. The store is written at registration, change and expiry alone. */
import type { Cancel, Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import {
  formatName,
  keyOf,
  type Resource,
  type ResourceKey,
} from "../resources/envelope.ts";
import { accountOf } from "../resources/ownership/address-owners.ts";
import { isKind } from "../resources/kind.ts";
import { validate } from "../resources/validate.ts";
import {
  REGISTERED_BY,
  WORKLOAD,
  workloadSettings,
  type WorkloadResource,
} from "../resources/workload/schema.ts";
import { workloadOf, type Peer } from "./push/peer.ts";
import { startClaims } from "./claims.ts";
import { RegistrationError } from "./registration-error.ts";
import { ConflictError, type Store } from "./store/store.ts";

/** Milliseconds after the start in which nothing expires: sidecars come back in this time (leases, design). */
export const GRACE = 60_000;

/** Milliseconds: below, a hiccup of the network empties the mesh; above, the dead are called for too long. */
export const TTL_BOUNDS = { least: 1000, most: 600_000 } as const;

/** Renewals that may be under way before the newest key registers. */
const MOST_KEYS = 4;

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
  readonly identity: string;
  readonly ready: boolean;
  /** Whether a stream holds it. */
  readonly held: boolean;
}

export interface Registry {
  /** Writes the peer's Workload and starts or renews its lease. Rejects with RegistrationError. */
  register(peer: Peer, spec: unknown): Promise<Lease>;
  /** Ends the lease and removes the Workload. */
  deregister(peer: Peer): Promise<void>;
  /** A stream of the peer is open: its lease does not run. Call the result when it is over. */
  hold(peer: Peer): () => void;
  /**
   * Why an instance with a new key may not have the name; undefined where it may: nobody has it, a person's Workload describes it, or
   * one of the same identity had it and is gone, such as itself before it lost its state.
   */
  nameFault(instance: Instance): Promise<string | undefined>;
  /** The peer goes on under a new key. */
  rekeyed(peer: Peer, key: string): void;
  /** By "NAMESPACE/NAME". */
  lease(workload: string): Lease | undefined;
  close(): Promise<void>;
}

interface State {
  readonly key: ResourceKey;
  readonly identity: string;
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
  /** Open streams by workload and identity, and by key: an instance may have one that goes and one that comes. */
  const streams = new Map<string, Map<string, number>>();
  const queues = new Map<string, Promise<void>>();
  let closed = false;

  /** One at a time for each workload: what is read stays true until it is written. */
  const inTurn = <T>(workload: string, run: () => Promise<T>): Promise<T> => {
    const turn = (queues.get(workload) ?? Promise.resolve()).then(run);
    const settled = turn.then(
      () => undefined,
      () => undefined,
    );
    queues.set(workload, settled);
    void settled.then(() => {
      if (queues.get(workload) === settled) queues.delete(workload);
    });
    return turn;
  };

  /** A stream of another identity that bears the same name holds nothing. */
  const streamsOf = (
    workload: string,
    identity: string,
  ): ReadonlyMap<string, number> =>
    streams.get(`${workload} ${identity}`) ?? new Map<string, number>();
  const isHeld = (workload: string, lease: State): boolean =>
    streamsOf(workload, lease.identity).size > 0;

  const leaseOf = (workload: string, lease: State): Lease => ({
    workload,
    identity: lease.identity,
    ready: lease.ready,
    held: isHeld(workload, lease),
  });

  /** Runs the lease out, unless a stream holds it. */
  const run = (workload: string, lease: State): void => {
    lease.cancelExpiry();
    lease.cancelExpiry = () => undefined;
    if (isHeld(workload, lease) || closed) return;
    const left = Math.max(lease.ttl, graceEnds - clock.now());
    lease.cancelExpiry = clock.after(left, () => {
      void inTurn(workload, () => expire(workload, lease));
    });
  };

  const expire = async (workload: string, lease: State): Promise<void> => {
    if (leases.get(workload) !== lease || isHeld(workload, lease) || closed)
      return;
    try {
      forget(workload, await removeOwn(lease));
      logger.warn(
        { workload },
        "the lease has run out without a sign of its sidecar: the workload is removed",
      );
    } catch (thrown) {
      logger.error(
        { workload, reason: messageOf(thrown) },
        "an expired workload cannot be removed; trying again",
      );
      run(workload, lease);
    }
  };

  /** `left`: what stands in its place. */
  const forget = (workload: string, left: Resource | undefined): void => {
    leases.delete(workload);
    if (left !== undefined && isKind(WORKLOAD, left)) claims.put(left);
    else claims.release(workload);
  };

  /** What a person has put in its place stays, and is returned. */
  const removeOwn = async (lease: State): Promise<Resource | undefined> => {
    const current = await store.get(lease.key);
    if (current === undefined || holderOf(current) !== lease.identity)
      return current;
    await store.remove(lease.key, Number(current.metadata.resourceVersion));
    return undefined;
  };

  const start = (
    workload: string,
    key: ResourceKey,
    identity: string,
    settings: { ttl: number; ready: boolean },
  ): State => {
    const known = leases.get(workload);
    const lease: State = known ?? {
      key,
      identity,
      keys: [],
      ...settings,
      cancelExpiry: () => undefined,
    };
    lease.ttl = Math.min(
      TTL_BOUNDS.most,
      Math.max(TTL_BOUNDS.least, settings.ttl),
    );
    lease.ready = settings.ready;
    leases.set(workload, lease);
    return lease;
  };

  /** Who else has the name; undefined where nobody has, or the identity itself. */
  const otherHolder = (
    identity: string,
    workload: string,
    current: Resource | undefined,
  ): string | undefined => {
    const holder = current === undefined ? undefined : holderOf(current);
    if (current !== undefined && holder === undefined)
      return `Workload ${workload} was applied by a person: delete it, or enrol this instance under another name`;
    const other = [leases.get(workload)?.identity, holder].find(
      (each) => each !== undefined && each !== identity,
    );
    return other === undefined
      ? undefined
      : `Workload ${workload} is registered by ${other}: give this instance another name`;
  };

  /** Throws where the name is not the peer's to take. */
  const checkHolder = (
    peer: Peer,
    workload: string,
    current: Resource | undefined,
  ): void => {
    const taken = otherHolder(peer.identity, workload, current);
    if (taken !== undefined) throw new RegistrationError("taken", taken);
    const lease = leases.get(workload);
    // The same identity with another key is the same instance come back without its state, or a second one of the same name.
    const others = Array.from(streamsOf(workload, peer.identity).keys()).filter(
      (key) => lease?.keys.includes(key) === true,
    );
    if (
      lease !== undefined &&
      !lease.keys.includes(peer.key) &&
      others.length > 0
    )
      throw new RegistrationError("taken", runningElsewhere(workload));
  };

  const register = async (peer: Peer, spec: unknown): Promise<Lease> => {
    const workload = workloadOf(peer);
    const given = workloadResource(peer, spec);
    const address = claims.check(peer, given.spec.address);
    const resource = { ...given, spec: { ...given.spec, address } };
    const key = keyOf(resource);
    for (let attempt = 1; ; attempt += 1) {
      const current = await store.get(key);
      checkHolder(peer, workload, current);
      // Before it is written: two that come at once do not both get it.
      claims.take(resource);
      try {
        await store.put(
          resource,
          current === undefined
            ? "absent"
            : Number(current.metadata.resourceVersion),
        );
        break;
      } catch (thrown) {
        if (current !== undefined && isKind(WORKLOAD, current))
          claims.put(current);
        else claims.release(workload);
        if (!(thrown instanceof ConflictError) || attempt === 5)
          throw new RegistrationError("failed", messageOf(thrown));
      }
    }
    const settings = workloadSettings(resource.spec);
    const lease = start(workload, key, peer.identity, settings);
    // Its older keys have had their day; a newer one may come with the renewal under way.
    lease.keys = lease.keys.includes(peer.key)
      ? lease.keys.slice(lease.keys.indexOf(peer.key))
      : [peer.key];
    run(workload, lease);
    return leaseOf(workload, lease);
  };

  const { resources } = await store.list(WORKLOAD.kind);
  for (const resource of resources) {
    const identity = holderOf(resource);
    if (identity === undefined || !isKind(WORKLOAD, resource)) continue;
    const key = keyOf(resource);
    const workload = `${key.namespace}/${key.name}`;
    run(
      workload,
      start(workload, key, identity, workloadSettings(resource.spec)),
    );
  }

  return {
    register: (peer, spec) =>
      inTurn(workloadOf(peer), () => register(peer, spec)),
    deregister: (peer) => {
      const workload = workloadOf(peer);
      return inTurn(workload, async () => {
        const lease = leases.get(workload);
        if (lease === undefined || lease.identity !== peer.identity) return;
        checkHolder(peer, workload, await store.get(lease.key));
        const left = await removeOwn(lease);
        lease.cancelExpiry();
        forget(workload, left);
      });
    },
    hold(peer) {
      const workload = workloadOf(peer);
      const slot = `${workload} ${peer.identity}`;
      const open = streams.get(slot) ?? new Map<string, number>();
      streams.set(slot, open);
      open.set(peer.key, (open.get(peer.key) ?? 0) + 1);
      const lease = leases.get(workload);
      if (lease !== undefined) run(workload, lease);
      let over = false;
      return () => {
        if (over) return;
        over = true;
        const left = (open.get(peer.key) ?? 1) - 1;
        if (left > 0) open.set(peer.key, left);
        else open.delete(peer.key);
        if (open.size === 0) streams.delete(slot);
        const current = leases.get(workload);
        if (current !== undefined) run(workload, current);
      };
    },
    async nameFault({ namespace, serviceAccount, name, identity }) {
      const workload = formatName(namespace, name);
      const current = await store.get({ kind: WORKLOAD.kind, namespace, name });
      const describes =
        current !== undefined &&
        isKind(WORKLOAD, current) &&
        accountOf(current) === formatName(namespace, serviceAccount);
      return (
        otherHolder(identity, workload, describes ? undefined : current) ??
        (streamsOf(workload, identity).size > 0
          ? runningElsewhere(workload)
          : undefined)
      );
    },
    rekeyed(peer, key) {
      const lease = leases.get(workloadOf(peer));
      if (lease?.keys.includes(peer.key) === true)
        lease.keys = [...lease.keys, key].slice(-MOST_KEYS);
    },
    lease(workload) {
      const lease = leases.get(workload);
      return lease === undefined ? undefined : leaseOf(workload, lease);
    },
    async close() {
      closed = true;
      await claims.close();
      for (const lease of leases.values()) lease.cancelExpiry();
      await Promise.all(queues.values());
    },
  };
}

function runningElsewhere(workload: string): string {
  return `Workload ${workload} is held by a running sidecar of the same identity: give each instance a name of its own`;
}

function holderOf(resource: Resource): string | undefined {
  return resource.metadata.annotations?.[REGISTERED_BY];
}

/** Name, namespace, service account and labels by the certificate; the rest as the sidecar says. */
function workloadResource(peer: Peer, spec: unknown): WorkloadResource {
  const given = typeof spec === "object" && spec !== null ? spec : {};
  const validation = validate({
    apiVersion: WORKLOAD.apiVersion,
    kind: WORKLOAD.kind,
    metadata: {
      name: peer.name,
      namespace: peer.namespace,
      ...(Object.keys(peer.labels).length === 0 ? {} : { labels: peer.labels }),
      annotations: { [REGISTERED_BY]: peer.identity },
    },
    spec: { ...given, serviceAccount: peer.serviceAccount },
  });
  if (!validation.ok)
    throw new RegistrationError(
      "invalid",
      validation.problems
        .map(({ path, message }) => `${path}: ${message}`)
        .join("; "),
    );
  if (!isKind(WORKLOAD, validation.resource))
    throw new RegistrationError("invalid", "not a Workload");
  return validation.resource;
}
