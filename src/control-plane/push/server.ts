/** The control plane's side of config push, enrolment and registration: one port, three gRPC services, one session per sidecar. */
import { status, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import type { Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import type { DeltaRequest } from "../../push/messages.ts";
import { resourceName } from "../../push/names.ts";
import type { Enrolment } from "../enrolment.ts";
import type { Registry } from "../registry.ts";
import type { Store } from "../store/store.ts";
import { openAcceptance } from "./acceptance.ts";
import {
  PEER_LIMITS,
  serveConnection,
  STRANGER_LIMITS,
  strangerHandlers,
  type Handlers,
} from "./connection.ts";
import { GATHER, startFeed, type GatherOptions } from "./feed.ts";
import { parseJson, unary } from "./grpc.ts";
import { listen } from "./listener.ts";
import { workloadOf, type Peer } from "./peer.ts";
import { startSession, type Counters, type Session } from "./session.ts";
import type { PushStatus, SidecarStatus } from "./status.ts";

export interface PushServerOptions {
  readonly store: Store;
  readonly registry: Registry;
  readonly enrolment: Enrolment;
  /** The server's own credentials, as spiffe://TD/ns/wherry-system/sa/control-plane. */
  readonly credentials: Watch<Credentials>;
  readonly trustDomains: readonly string[];
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** GATHER where absent. */
  readonly gather?: GatherOptions;
}

export interface PushServer extends PushStatus {
  readonly port: number;
  /** Lets sidecars that know another store, or a later revision, go on with this one. Throws UserError where `storeId` is not this store's. */
  accept(storeId: string): Promise<void>;
  close(): Promise<void>;
}

/** Sidecars that have left and are still shown. */
const MOST_DEPARTED = 10_000;
const DEPARTED_FOR = 3_600_000;

/** Resolves when the port is open and everything that the store holds can be pushed. */
export async function startPushServer(
  options: PushServerOptions,
): Promise<PushServer> {
  const { store, registry, enrolment, clock, logger } = options;
  const sessions = new Set<Session>();
  const departed = new Map<string, SidecarStatus>();
  const counters: Counters = {
    pushes: 0,
    acknowledged: 0,
    refused: 0,
    resources: 0,
    removed: 0,
    bytes: 0,
  };
  const acceptance = await openAcceptance(store);
  const feed = await startFeed({
    store,
    clock,
    logger,
    gather: options.gather ?? GATHER,
    onSettled: () => {
      for (const session of sessions) session.settled();
    },
  });

  const depart = (session: Session): void => {
    const gone: SidecarStatus = {
      ...session.status,
      connected: false,
      disconnectedAt: clock.wall(),
    };
    const name = instanceOf(gone);
    departed.delete(name);
    departed.set(name, gone);
    const [oldest] = departed.keys();
    if (departed.size > MOST_DEPARTED && oldest !== undefined)
      departed.delete(oldest);
  };

  const stream = (
    peer: Peer,
    call: ServerDuplexStream<DeltaRequest, Buffer>,
  ): void => {
    // The same key twice is one sidecar, back before its old connection was missed.
    for (const other of sessions)
      if (other.peer.key === peer.key)
        other.end(status.ABORTED, "the same sidecar has opened a newer stream");
    const release = registry.hold(peer);
    const session = startSession({
      peer,
      call,
      feed,
      store: store.id,
      accepted: (known) => acceptance.of(known),
      clock,
      logger,
      counters,
      onEnd: () => {
        release();
        sessions.delete(session);
        depart(session);
        logger.info(
          { sidecar: workloadOf(peer) },
          "a sidecar's stream has ended",
        );
      },
    });
    sessions.add(session);
    logger.info(
      {
        sidecar: workloadOf(peer),
        identity: peer.identity,
        remote: peer.address,
      },
      "a sidecar has opened its stream",
    );
  };

  const enrolFrom = (source: string): Handlers["enrol"] =>
    unary((request) => enrolment.enrol(request, source));

  const handlersOf = (peer: Peer): Handlers => ({
    deltaAggregatedResources: (call) => stream(peer, call),
    enrol: enrolFrom(peer.source),
    renew: unary(async (request) => {
      const { key, ...issued } = await enrolment.renew(peer, request.csr);
      registry.rekeyed(peer, key);
      return issued;
    }),
    register: unary(async (request) => {
      const { workload } = await registry.register(
        peer,
        parseJson(request.spec),
      );
      return { workload };
    }),
    deregister: unary(async () => {
      await registry.deregister(peer);
      return {};
    }),
  });

  const listener = await listen({
    host: options.host,
    port: options.port,
    own: options.credentials,
    trustDomains: options.trustDomains,
    strangers: STRANGER_LIMITS,
    clock,
    logger,
    onConnection: (socket, caller) =>
      caller.kind === "peer"
        ? serveConnection(socket, handlersOf(caller.peer), PEER_LIMITS)
        : serveConnection(
            socket,
            strangerHandlers(caller.reason, enrolFrom(caller.source)),
            STRANGER_LIMITS,
          ),
  });

  /** The newest stream of each instance. */
  const newest = (): Map<string, Session> =>
    new Map(
      Array.from(sessions, (session) => [instanceOf(session.peer), session]),
    );

  const withLease = (sidecar: SidecarStatus): SidecarStatus => {
    const lease = registry.lease(`${sidecar.namespace}/${sidecar.name}`);
    return lease === undefined || lease.identity !== sidecar.identity
      ? sidecar
      : { ...sidecar, lease: { workload: lease.workload, ready: lease.ready } };
  };

  return {
    port: listener.port,
    status() {
      const connected = Array.from(
        newest().values(),
        (session) => session.status,
      );
      const names = new Set(connected.map(instanceOf));
      const oldest = clock.wall() - DEPARTED_FOR;
      for (const [name, { disconnectedAt = 0 }] of departed)
        if (names.has(name) || disconnectedAt < oldest) departed.delete(name);
      return [...connected, ...departed.values()].map(withLease).sort(byName);
    },
    inForce(key, resourceVersion) {
      const name = resourceName(key);
      const count = { have: 0, of: 0, refused: 0 };
      for (const session of newest().values()) {
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
    },
    configOf: (sidecar) => newest().get(instanceOf(sidecar))?.inForce,
    statistics: () => ({
      ...counters,
      encoded: feed.catalogue.encoded,
      connected: sessions.size,
    }),
    async accept(storeId) {
      await acceptance.accept(storeId);
      for (const session of sessions) session.acceptedNow();
    },
    async close() {
      for (const session of sessions)
        session.end(status.UNAVAILABLE, "the control plane is stopping");
      await feed.close();
      await listener.close();
    },
  };
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
