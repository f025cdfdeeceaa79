/** The sidecars of a push port: those whose streams are open, and for an hour those that have left. */
import { status, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import { defectIn, type Logger } from "../../core/log.ts";
import { Multimap } from "../../core/multimap.ts";
import {
  inSlices,
  pauses,
  pieces,
  sortSteps,
  type Steps,
} from "../../core/slices.ts";
import type { MonotonicMs } from "../../core/units.ts";
import type { DeltaRequest } from "../../push/messages.ts";
import type { Registry } from "../registry/registry.ts";
import type { Entry } from "./catalogue/item.ts";
import type { View } from "./catalogue/scopes.ts";
import type { Feed } from "./feed.ts";
import { GrpcError } from "./grpc.ts";
import { workloadOf, type Peer } from "./peer.ts";
import { Session } from "./session.ts";
import type { Counters, SessionOptions } from "./session-options.ts";
import type {
  PushStatistics,
  PushStatus,
  Refusing,
  SidecarConfig,
  SidecarStatus,
} from "./status.ts";

export interface SidecarsOptions {
  readonly store: SessionOptions["store"];
  readonly accepted: SessionOptions["accepted"];
  readonly registry: Pick<Registry, "hold" | "lease">;
  readonly debts: SessionOptions["debts"];
  readonly trust: SessionOptions["trust"];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly meters: SessionOptions["meters"];
}

/** Sidecars that have left and are still shown. */
const MOST_DEPARTED = 10_000;
/** Milliseconds. */
const DEPARTED_FOR = 3_600_000;
/** Milliseconds for which a stream that took another address's place keeps it: a copied state directory moves the store, and sends all anew, each time. */
export const COPY_WAITS = 60_000;

export class Sidecars implements Omit<PushStatus, "statistics" | "inForce"> {
  readonly #options: SidecarsOptions;
  readonly #sessions = new Map<View, Session>();
  readonly #keys = new Map<string, Session>();
  /** By the key of an open stream: when it took the place of one from another address, and that address. */
  readonly #copies = new Map<
    string,
    { readonly since: MonotonicMs; readonly address: string }
  >();
  /** Streams of each instance, the newest last. */
  readonly #instances = new Map<string, readonly Session[]>();
  /** The same instances, by "NAMESPACE/NAME". */
  readonly #named = new Multimap<string, string>();
  /** Those that left longest ago first. */
  readonly #departed = new Map<
    string,
    { readonly gone: SidecarStatus; readonly at: MonotonicMs }
  >();
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

  get connected(): number {
    return this.#instances.size;
  }

  /** Serves the peer's stream with what the feed brings, and holds the peer's lease while it is open. One that has come too often waits before it is read. */
  open(
    peer: Peer,
    call: ServerDuplexStream<DeltaRequest, Buffer>,
    feed: Feed,
    onResponse?: () => void,
  ): void {
    const wait = this.#options.debts.wait(peer);
    if (wait === 0) {
      this.#serve(peer, call, feed, onResponse);
      return;
    }
    const cancel = this.#options.clock.after(wait, () => {
      if (!call.cancelled) this.open(peer, call, feed, onResponse);
    });
    for (const event of ["cancelled", "close", "error"]) call.on(event, cancel);
  }

  #serve(
    peer: Peer,
    call: ServerDuplexStream<DeltaRequest, Buffer>,
    feed: Feed,
    onResponse: (() => void) | undefined,
  ): void {
    const { registry, logger, ...rest } = this.#options;
    const sidecar = workloadOf(peer);
    // The same key twice is one sidecar, back before its old connection was missed; or a copy of it.
    const older = this.#keys.get(peer.key);
    const moved = older !== undefined && older.peer.source !== peer.source;
    const now = this.#options.clock.now();
    const { since = -Infinity } = this.#copies.get(peer.key) ?? {};
    if (moved && now - since < COPY_WAITS) {
      this.#copies.set(peer.key, { since, address: peer.source });
      const reason = sameKey(sidecar, older.peer.source);
      call.emit("error", new GrpcError(status.ABORTED, reason));
      return;
    }
    older?.end(status.ABORTED, sameKey(sidecar, peer.source));
    if (moved) {
      this.#copies.set(peer.key, { since: now, address: older.peer.source });
      logger.warn(
        { sidecar, addresses: [older.peer.source, peer.source] },
        sameKey(sidecar, peer.source),
      );
    }
    const release = registry.hold(peer);
    const session = new Session({
      ...rest,
      ...{ peer, call, feed, logger, onResponse },
      counters: this.#counters,
      onEnd: () => {
        release();
        this.#leave(session);
        this.#depart(session);
        logger.info({ sidecar }, "a sidecar's stream has ended");
      },
    });
    this.#enter(session);
    logger.info(
      { sidecar, identity: peer.identity, remote: peer.address },
      "a sidecar has opened its stream",
    );
  }

  /** What these sidecars should hold has changed. Where they are many, others have their turn in between. */
  settled(moved: readonly View[]): void {
    this.#inTurn(moved, (view) => this.#sessions.get(view)?.settled());
  }

  /** Where they are many, others have their turn in between. */
  #inTurn<T>(all: readonly T[], push: (each: T) => void): void {
    const { clock, logger } = this.#options;
    const pause = pauses(clock);
    const run = async (): Promise<void> => {
      for (const each of all) {
        await pause();
        push(each);
      }
    };
    run().catch(defectIn(logger, "a push"));
  }

  /** The store is accepted: those that refused it hear so. */
  acceptedNow(): void {
    for (const session of this.#sessions.values()) session.acceptedNow();
  }

  /** Other roots are to be trusted. */
  trustMoved(): void {
    this.#inTurn([...this.#sessions.values()], (session) =>
      session.trustMoved(),
    );
  }

  /** The peer's certificate no longer stands. */
  end(peer: Peer, reason: string): void {
    for (const session of this.#instances.get(instanceOf(peer)) ?? [])
      if (session.peer.key === peer.key)
        session.end(status.UNAUTHENTICATED, reason);
  }

  endAll(reason: string): void {
    for (const session of [...this.#sessions.values()])
      session.end(status.UNAVAILABLE, reason);
  }

  status(): Promise<readonly SidecarStatus[]> {
    return inSlices(this.#statusSteps(), pauses(this.#options.clock));
  }

  instances(): Promise<readonly string[]> {
    const sorting = sortSteps(this.#known(), byText);
    return inSlices(sorting, pauses(this.#options.clock));
  }

  shown(instance: string): SidecarStatus | undefined {
    const sidecar = this.#statusOf(instance);
    return sidecar === undefined ? undefined : this.#withLease(sidecar);
  }

  sidecar(namespace: string, name: string): SidecarStatus | undefined {
    const [oldest] = [...this.#named.get(`${namespace}/${name}`)]
      .flatMap((instance) => this.#connected(instance) ?? [])
      .sort(byName);
    return oldest === undefined ? undefined : this.#withLease(oldest);
  }

  refusing(): readonly Refusing[] {
    return [...this.#instances.values()].flatMap(
      (streams) => streams.at(-1)?.refusing ?? [],
    );
  }

  configOf(
    sidecar: Pick<SidecarStatus, "namespace" | "name" | "identity">,
    asked: readonly string[] = [],
  ): SidecarConfig | undefined {
    return this.#newest(instanceOf(sidecar))?.configFor(asked);
  }

  /** Whether the peer, on an open stream, is to hold what the entry is a version of. */
  has(
    peer: Pick<Peer, "namespace" | "name" | "identity">,
    entry: Pick<Entry, "slot"> | undefined,
  ): boolean {
    if (entry === undefined) return false;
    const set = this.#newest(instanceOf(peer))?.view.set;
    return set?.entries.get(entry.slot) !== undefined;
  }

  statistics(): Omit<PushStatistics, "encoded"> {
    return { ...this.#counters, connected: this.#sessions.size };
  }

  /** Each sidecar as it is at its step. */
  *#statusSteps(): Steps<readonly SidecarStatus[]> {
    const sidecars: SidecarStatus[] = [];
    const known = yield* sortSteps(this.#known(), byText);
    for (const piece of pieces(known)) {
      yield;
      for (const instance of piece) {
        const sidecar = this.shown(instance);
        if (sidecar !== undefined) sidecars.push(sidecar);
      }
    }
    return sidecars;
  }

  #known(): readonly string[] {
    return [...new Set([...this.#instances.keys(), ...this.#departed.keys()])];
  }

  /** Undefined where it left too long ago. */
  #statusOf(instance: string): SidecarStatus | undefined {
    const connected = this.#connected(instance);
    const departed = this.#departed.get(instance);
    if (connected === undefined && departed !== undefined) {
      const { gone, at } = departed;
      if (at >= this.#options.clock.now() - DEPARTED_FOR) return gone;
    }
    this.#departed.delete(instance);
    return connected;
  }

  #connected(instance: string): SidecarStatus | undefined {
    const newest = this.#newest(instance);
    if (newest === undefined) return undefined;
    const copy = this.#copies.get(newest.peer.key)?.address;
    return copy === undefined ? newest.status : { ...newest.status, copy };
  }

  #newest(instance: string): Session | undefined {
    return this.#instances.get(instance)?.at(-1);
  }

  /** The newest of an instance's streams is the one that counts. */
  #enter(session: Session): void {
    const instance = instanceOf(session.peer);
    const streams = this.#instances.get(instance) ?? [];
    streams.at(-1)?.view.counts.setCounted(false);
    this.#instances.set(instance, [...streams, session]);
    this.#named.add(workloadOf(session.peer), instance);
    this.#sessions.set(session.view, session);
    this.#keys.set(session.peer.key, session);
  }

  #leave(session: Session): void {
    const instance = instanceOf(session.peer);
    const left = (this.#instances.get(instance) ?? []).filter(
      (each) => each !== session,
    );
    if (left.length === 0) {
      this.#instances.delete(instance);
      this.#named.delete(workloadOf(session.peer), instance);
    } else this.#instances.set(instance, left);
    left.at(-1)?.view.counts.setCounted(true);
    this.#sessions.delete(session.view);
    if (this.#keys.get(session.peer.key) === session) {
      this.#keys.delete(session.peer.key);
      this.#copies.delete(session.peer.key);
    }
  }

  #depart(session: Session): void {
    const gone: SidecarStatus = {
      ...session.status,
      connected: false,
      disconnectedAt: this.#options.clock.wall(),
    };
    const name = instanceOf(gone);
    this.#departed.delete(name);
    this.#departed.set(name, { gone, at: this.#options.clock.now() });
    const [oldest] = this.#departed.keys();
    if (this.#departed.size > MOST_DEPARTED && oldest !== undefined)
      this.#departed.delete(oldest);
  }

  #withLease(sidecar: SidecarStatus): SidecarStatus {
    const { namespace, name, identity } = sidecar;
    const lease = this.#options.registry.lease(`${namespace}/${name}`);
    if (lease === undefined || lease.identity !== identity) return sidecar;
    const { workload, ready, unreadyPorts, confirmed } = lease;
    return {
      ...sidecar,
      lease: {
        workload,
        ready,
        ...(unreadyPorts === undefined ? {} : { unreadyPorts }),
        ...(confirmed ? {} : { unconfirmed: true }),
      },
    };
  }
}

function sameKey(sidecar: string, address: string): string {
  return `${sidecar} has a stream from ${address} with the same certificate: if that is another host, its state directory was copied; delete the state directory on one of the two, and enrol it anew under another name`;
}

/** A name is one instance's of its identity alone. */
function instanceOf(of: Pick<Peer, "namespace" | "name" | "identity">): string {
  return `${of.namespace}/${of.name} ${of.identity}`;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
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
