/** The sidecars of a push port: those whose streams are open, and for an hour those that have left. */
import { status, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import type { DeltaRequest } from "../../push/messages.ts";
import { resourceName } from "../../push/names.ts";
import type { ResourceKey } from "../../resources/envelope.ts";
import type { Registry } from "../registry/registry.ts";
import type { View } from "./catalogue/scopes.ts";
import type { Feed } from "./feed.ts";
import { workloadOf, type Peer } from "./peer.ts";
import { Session, type Counters, type SessionOptions } from "./session.ts";
import type {
  InForce,
  PushStatistics,
  PushStatus,
  SidecarConfig,
  SidecarStatus,
} from "./status.ts";

export interface SidecarsOptions {
  /** UUID of the store that is pushed from. */
  readonly store: string;
  readonly accepted: SessionOptions["accepted"];
  readonly registry: Pick<Registry, "hold" | "lease">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Sidecars that have left and are still shown. */
const MOST_DEPARTED = 10_000;
/** Milliseconds. */
const DEPARTED_FOR = 3_600_000;

export class Sidecars implements Omit<PushStatus, "statistics"> {
  readonly #options: SidecarsOptions;
  readonly #sessions = new Set<Session>();
  readonly #byView = new Map<View, Session>();
  /** Those that left longest ago first. */
  readonly #departed = new Map<string, SidecarStatus>();
  readonly #counters: Counters = {
    pushes: 0,
    acknowledged: 0,
    refused: 0,
    resources: 0,
    removed: 0,
    bytes: 0,
  };

  constructor(options: SidecarsOptions) {
    this.#options = options;
  }

  /** Serves the peer's stream with what the feed brings, and holds the peer's lease while it is open. */
  open(
    peer: Peer,
    call: ServerDuplexStream<DeltaRequest, Buffer>,
    feed: Feed,
  ): void {
    const { store, accepted, registry, clock, logger } = this.#options;
    const sidecar = workloadOf(peer);
    // The same key twice is one sidecar, back before its old connection was missed.
    for (const other of this.#sessions)
      if (other.peer.key === peer.key)
        other.end(status.ABORTED, "the same sidecar has opened a newer stream");
    const release = registry.hold(peer);
    const session = new Session({
      peer,
      call,
      feed,
      store,
      accepted,
      clock,
      logger,
      counters: this.#counters,
      onEnd: () => {
        release();
        this.#sessions.delete(session);
        this.#byView.delete(session.view);
        this.#depart(session);
        logger.info({ sidecar }, "a sidecar's stream has ended");
      },
    });
    this.#sessions.add(session);
    this.#byView.set(session.view, session);
    logger.info(
      { sidecar, identity: peer.identity, remote: peer.address },
      "a sidecar has opened its stream",
    );
  }

  /** What these sidecars should hold has changed. */
  settled(moved: readonly View[]): void {
    for (const view of moved) this.#byView.get(view)?.settled();
  }

  /** The store is accepted: those that refused it hear so. */
  acceptedNow(): void {
    for (const session of this.#sessions) session.acceptedNow();
  }

  endAll(reason: string): void {
    for (const session of this.#sessions)
      session.end(status.UNAVAILABLE, reason);
  }

  status(): readonly SidecarStatus[] {
    const connected = Array.from(
      this.#newest().values(),
      (session) => session.status,
    );
    this.#forgetDeparted(new Set(connected.map(instanceOf)));
    return [...connected, ...this.#departed.values()]
      .map((sidecar) => this.#withLease(sidecar))
      .sort(byName);
  }

  inForce(key: ResourceKey, resourceVersion: string): InForce {
    const name = resourceName(key);
    const count = { have: 0, of: 0, refused: 0 };
    for (const session of this.#newest().values()) {
      const { inScope, inForce, refused } = session.standing(
        name,
        resourceVersion,
      );
      if (!inScope) continue;
      count.of += 1;
      if (inForce) count.have += 1;
      else if (refused) count.refused += 1;
    }
    return count;
  }

  configOf(
    sidecar: Pick<SidecarStatus, "namespace" | "name" | "identity">,
  ): SidecarConfig | undefined {
    return this.#newest().get(instanceOf(sidecar))?.inForce;
  }

  statistics(): Omit<PushStatistics, "encoded"> {
    return { ...this.#counters, connected: this.#sessions.size };
  }

  /** The newest stream of each instance. */
  #newest(): Map<string, Session> {
    return new Map(
      Array.from(this.#sessions, (session) => [
        instanceOf(session.peer),
        session,
      ]),
    );
  }

  #depart(session: Session): void {
    const gone: SidecarStatus = {
      ...session.status,
      connected: false,
      disconnectedAt: this.#options.clock.wall(),
    };
    const name = instanceOf(gone);
    this.#departed.delete(name);
    this.#departed.set(name, gone);
    const [oldest] = this.#departed.keys();
    if (this.#departed.size > MOST_DEPARTED && oldest !== undefined)
      this.#departed.delete(oldest);
  }

  /** Those that are back, and those that left too long ago. */
  #forgetDeparted(connected: ReadonlySet<string>): void {
    const oldest = this.#options.clock.wall() - DEPARTED_FOR;
    for (const [name, { disconnectedAt = 0 }] of this.#departed)
      if (connected.has(name) || disconnectedAt < oldest)
        this.#departed.delete(name);
  }

  #withLease(sidecar: SidecarStatus): SidecarStatus {
    const { namespace, name, identity } = sidecar;
    const lease = this.#options.registry.lease(`${namespace}/${name}`);
    return lease === undefined || lease.identity !== identity
      ? sidecar
      : { ...sidecar, lease: { workload: lease.workload, ready: lease.ready } };
  }
}

/** A name is one instance's of its identity alone. */
function instanceOf(of: Pick<Peer, "namespace" | "name" | "identity">): string {
  return `${of.namespace}/${of.name} ${of.identity}`;
}

function byName(a: SidecarStatus, b: SidecarStatus): number {
  const left = `${a.namespace}/${a.name}`;
  const right = `${b.namespace}/${b.name}`;
  return left < right
    ? -1
    : left > right
      ? 1
      : a.connectedSince - b.connectedSince;
}
