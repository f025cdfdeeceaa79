/** Leases of workloads: registered by their sidecars, alive while the sidecar's stream is, gone a while after it. The store is written at registration, change and expiry alone. */
import type { Cancel, Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import {
  keyOf,
  type Resource,
  type ResourceKey,
} from "../resources/envelope.ts";
import { isKind } from "../resources/kind.ts";
import { validate } from "../resources/validate.ts";
import {
  WORKLOAD,
  workloadSettings,
  type WorkloadResource,
} from "../resources/workload.ts";
import { workloadOf, type Peer } from "./push/peer.ts";
import { ConflictError, type Store } from "./store/store.ts";

/** Marks a Workload that a sidecar registered, with the SPIFFE id of who did: the rest are a person's, and never expire. */
export const LEASE_ANNOTATION = "mesh.wherry.dev/registered-by";

/** Milliseconds after the start in which nothing expires: sidecars come back in this time (leases, design). */
export const GRACE = 60_000;

/** Milliseconds: below, a hiccup of the network empties the mesh; above, the dead are called for too long. */
const TTL_BOUNDS = { least: 1000, most: 600_000 } as const;

/** Renewals that may be under way before the newest key registers. */
const MOST_KEYS = 4;

export interface RegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** GRACE where absent. */
  readonly grace?: number;
}

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
  /** The peer goes on under a new key. */
  rekeyed(peer: Peer, key: string): void;
  /** By "NAMESPACE/NAME". */
  lease(workload: string): Lease | undefined;
  close(): Promise<void>;
}

/** `invalid`: the spec; `taken`: the name is another's; `failed`: the store. */
export class RegistrationError extends Error {
  override readonly name = "RegistrationError";
  readonly kind: "invalid" | "taken" | "failed";

  constructor(kind: RegistrationError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
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
      await removeOwn(lease);
      leases.delete(workload);
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

  /** What a person has put in its place stays. */
  const removeOwn = async (lease: State): Promise<void> => {
    const current = await store.get(lease.key);
    if (current === undefined || holderOf(current) !== lease.identity) return;
    await store.remove(lease.key, Number(current.metadata.resourceVersion));
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

  /** Throws where the name is not the peer's to take. */
  const checkHolder = (
    peer: Peer,
    workload: string,
    current: Resource | undefined,
  ): void => {
    const holder = current === undefined ? undefined : holderOf(current);
    if (current !== undefined && holder === undefined)
      throw new RegistrationError(
        "taken",
        `Workload ${workload} was applied by a person: delete it, or enrol this instance under another name`,
      );
    const lease = leases.get(workload);
    if (
      (lease !== undefined && lease.identity !== peer.identity) ||
      (holder !== undefined && holder !== peer.identity)
    )
      throw new RegistrationError(
        "taken",
        `Workload ${workload} is registered by ${lease?.identity ?? holder ?? ""}: give this instance another name`,
      );
    // The same identity with another key is the same instance come back without its state, or a second one of the same name.
    const others = Array.from(streamsOf(workload, peer.identity).keys()).filter(
      (key) => lease?.keys.includes(key) === true,
    );
    if (
      lease !== undefined &&
      !lease.keys.includes(peer.key) &&
      others.length > 0
    )
      throw new RegistrationError(
        "taken",
        `Workload ${workload} is held by a running sidecar of the same identity: give each instance a name of its own`,
      );
  };

  const register = async (peer: Peer, spec: unknown): Promise<Lease> => {
    const workload = workloadOf(peer);
    const resource = workloadResource(peer, spec);
    const key = keyOf(resource);
    for (let attempt = 1; ; attempt += 1) {
      const current = await store.get(key);
      checkHolder(peer, workload, current);
      try {
        await store.put(
          resource,
          current === undefined
            ? "absent"
            : Number(current.metadata.resourceVersion),
        );
        break;
      } catch (thrown) {
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
        await removeOwn(lease);
        lease.cancelExpiry();
        leases.delete(workload);
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
      for (const lease of leases.values()) lease.cancelExpiry();
      await Promise.all(queues.values());
    },
  };
}

function holderOf(resource: Resource): string | undefined {
  return resource.metadata.annotations?.[LEASE_ANNOTATION];
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
      annotations: { [LEASE_ANNOTATION]: peer.identity },
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
