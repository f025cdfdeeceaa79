/** The control plane's side of config push, enrolment and registration: one port, three gRPC services, one session per sidecar. */
import type { TLSSocket } from "node:tls";
import type { Clock } from "../../core/clock.ts";
import { defectIn, type Logger } from "../../core/log.ts";
import type { Watch } from "../../core/watch.ts";
import type { Credentials } from "../../identity/credentials.ts";
import type { Revoked } from "../../identity/revoked.ts";
import { FIELDS_SINCE, type FieldSince } from "../../push/fields-since.ts";
import type { Enrolment } from "../enrolment/enrolment.ts";
import type { ShownCertificates } from "../enrolment/shown-certificates.ts";
import { counted, type PushMeters } from "../meters.ts";
import type { MeshAround } from "../registry/expiry.ts";
import type { Registry } from "../registry/registry.ts";
import { WORKLOAD } from "../../resources/workload/schema.ts";
import type { Store } from "../store/store.ts";
import { openAcceptance } from "./acceptance.ts";
import type { MeshSource } from "./catalogue/mesh-view.ts";
import {
  PEER_LIMITS,
  serveConnection,
  STRANGER_LIMITS,
  strangerHandlers,
  WAITING_LIMITS,
  type Handlers,
} from "./connection.ts";
import { GATHER, startFeed, type Feed, type GatherOptions } from "./feed.ts";
import { failureOf, parseSpec, unary } from "./grpc.ts";
import { listen, type Caller } from "./listener.ts";
import { ObservedCalls } from "../observed/observed-calls.ts";
import { OutsideCalls } from "../observed/outside-calls.ts";
import { Debts } from "./asked/debts.ts";
import { Pace } from "./pace.ts";
import type { Peer } from "./peer.ts";
import { Sidecars } from "./sidecars.ts";
import type { PushStatus } from "./status.ts";
import type { TrustOffer } from "./trust-push.ts";

export interface PushServerOptions {
  readonly store: Store;
  readonly registry: Registry;
  readonly enrolment: Enrolment;
  readonly shown: Pick<ShownCertificates, "shown">;
  /** The server's own credentials, as spiffe://TD/ns/wherry-system/sa/control-plane. */
  readonly credentials: Watch<Credentials>;
  /** The roots that sidecars are to trust; absent: they get them with their certificates alone. */
  readonly trust?: Watch<TrustOffer>;
  /** Absent: nothing is revoked. */
  readonly revoked?: Watch<Revoked> | undefined;
  readonly trustDomains: readonly string[];
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly meters: PushMeters;
  /** GATHER where absent. */
  readonly gather?: GatherOptions;
  /** FIELDS_SINCE where absent. */
  readonly fieldsSince?: readonly FieldSince[];
}

export interface PushServer extends PushStatus {
  readonly port: number;
  /** Those that are connected. */
  readonly sidecars: number;
  /** What is pushed from. */
  readonly mesh: MeshSource;
  /** The calls that sidecars have seen come in. */
  readonly observed: ObservedCalls;
  /** Those that have left the mesh beside sidecars, or would have. */
  readonly outside: OutsideCalls;
  /** Lets sidecars that know another store, or a later revision, go on with this one. Throws UserError where `storeId` is not this store's. */
  accept(storeId: string): Promise<void>;
  close(): Promise<void>;
}

/** Resolves when the port is open and everything that the store holds can be pushed. */
export async function startPushServer(
  options: PushServerOptions,
): Promise<PushServer> {
  const { store, registry, clock, logger, meters } = options;
  const acceptance = await openAcceptance(store);
  const seen = seenCalls(clock);
  const sidecars = new Sidecars({
    store,
    accepted: (known) => acceptance.of(known),
    trust: () => options.trust?.value,
    ...{ registry, clock, logger, meters, debts: new Debts(clock) },
  });
  const leaveTrust = options.trust?.subscribe(() => sidecars.trustMoved());
  const feed = await startFeed({
    ...{ store, clock, logger },
    gather: options.gather ?? GATHER,
    fieldsSince: options.fieldsSince ?? FIELDS_SINCE,
    onSettled: (moved) => sidecars.settled(moved),
  });
  registry.spare(meshAround(feed));
  const pushed = { sidecars, feed, ...seen, ...newPaces(clock) };
  const listener = await listen({
    ...{ host: options.host, port: options.port, own: options.credentials },
    ...{ revoked: options.revoked, trustDomains: options.trustDomains },
    ...{ waiting: WAITING_LIMITS, strangers: STRANGER_LIMITS, clock, logger },
    onConnection: (socket, caller, arrived) =>
      serve(socket, caller, options, { ...pushed, arrived }),
    onFallen(peer, fault) {
      sidecars.end(peer, fault);
      registry.removal.of(peer).catch(defectIn(logger, "a removal"));
    },
  });

  return {
    port: listener.port,
    get sidecars() {
      return sidecars.connected;
    },
    mesh: feed,
    ...seen,
    status: () => sidecars.status(),
    instances: () => sidecars.instances(),
    shown: (instance) => sidecars.shown(instance),
    sidecar: (namespace, name) => sidecars.sidecar(namespace, name),
    inForce: (key, version) => feed.catalogue.inForce(key, version),
    refusing: () => sidecars.refusing(),
    configOf: (sidecar, asked) => sidecars.configOf(sidecar, asked),
    statistics: () => ({
      ...sidecars.statistics(),
      encoded: feed.catalogue.encoded,
    }),
    async accept(storeId) {
      await acceptance.accept(storeId);
      sidecars.acceptedNow();
    },
    async close() {
      leaveTrust?.();
      sidecars.endAll("the control plane is stopping");
      await feed.close();
      await listener.close();
    },
  };
}

function serve(
  socket: TLSSocket,
  caller: Caller,
  options: PushServerOptions,
  pushed: Pushed,
): void {
  switch (caller.kind) {
    case "stranger":
      serveStranger(socket, caller, options, pushed.arrived);
      break;
    case "untimely":
      serveUntimely(socket, caller, options, pushed);
      break;
    case "peer":
      options.shown.shown(caller.peer);
      servePeer(socket, caller, options, pushed);
  }
}

function servePeer(
  socket: TLSSocket,
  caller: Extract<Caller, { kind: "peer" }>,
  options: PushServerOptions,
  pushed: Pushed,
): void {
  const { sidecars, feed, arrived } = pushed;
  serveConnection(
    socket,
    {
      deltaAggregatedResources: (call) =>
        sidecars.open(caller.peer, call, feed, arrived),
      enrol: enrolFrom(caller, options, arrived),
      ...peerCalls(caller.peer, options, pushed),
    },
    PEER_LIMITS,
  );
}

/** What sidecars have seen; nothing yet. */
function seenCalls(
  clock: Pick<Clock, "wall" | "now">,
): Pick<PushServer, "observed" | "outside"> {
  return {
    observed: new ObservedCalls(clock),
    outside: new OutsideCalls(clock),
  };
}

function newPaces(clock: Clock): Pick<Pushed, "registering" | "renewing"> {
  return { registering: new Pace(clock), renewing: new Pace(clock) };
}

/** What is pushed, and to which sidecars. */
interface Pushed {
  readonly sidecars: Sidecars;
  readonly feed: Feed;
  readonly observed: ObservedCalls;
  readonly outside: OutsideCalls;
  readonly registering: Pace;
  readonly renewing: Pace;
  /** To be called once the sidecar has its first config, or the certificate that it came for. */
  readonly arrived: () => void;
}

/** What the registry is to know of what is pushed. */
function meshAround(feed: Feed): MeshAround {
  return {
    serving: () => feed.catalogue.mesh,
    caughtUp: () => feed.current(),
    callersOf: (workload) => feed.catalogue.wanted(workloadName(workload)),
  };
}

function workloadName(workload: string): string {
  return `${WORKLOAD.kind}/${workload}`;
}

function serveStranger(
  socket: TLSSocket,
  caller: Extract<Caller, { kind: "stranger" }>,
  options: PushServerOptions,
  arrived: () => void,
): void {
  const handlers = strangerHandlers(
    caller.reason,
    enrolFrom(caller, options, arrived),
  );
  serveConnection(socket, handlers, STRANGER_LIMITS);
}

/** As a stranger, but for the renewal of the certificate whose key it proved to hold. */
function serveUntimely(
  socket: TLSSocket,
  caller: Extract<Caller, { kind: "untimely" }>,
  options: PushServerOptions,
  { arrived, renewing: pace }: Pushed,
): void {
  const { peer, by, reason } = caller;
  const handlers: Handlers = {
    ...strangerHandlers(reason, enrolFrom(caller, options, arrived)),
    renew: renewing(peer, options, async (csr) => {
      try {
        pace.take(peer);
        return await options.enrolment.renewUntimely(peer, by, csr);
      } finally {
        arrived();
      }
    }),
  };
  serveConnection(socket, handlers, STRANGER_LIMITS);
}

function enrolFrom(
  { source }: Caller,
  { enrolment, meters }: PushServerOptions,
  arrived: () => void,
): Handlers["enrol"] {
  return unary((request) =>
    counted(meters.enrolments, "issued", failureOf, () =>
      enrolment.enrol(request, source),
    ).finally(arrived),
  );
}

function renewing(
  peer: Peer,
  { registry, meters }: PushServerOptions,
  renew: (csr: string) => ReturnType<Enrolment["renew"]>,
): Handlers["renew"] {
  return unary(async (request) => {
    const { key, ...issued } = await counted(
      meters.renewals,
      "issued",
      failureOf,
      () => renew(request.csr),
    );
    registry.rekeyed(peer, key);
    return issued;
  });
}

/** What a peer may ask for itself alone. */
function peerCalls(
  peer: Peer,
  options: PushServerOptions,
  { sidecars, feed, observed, outside, ...paces }: Pushed,
): Pick<
  Handlers,
  "renew" | "register" | "deregister" | "report" | "observe" | "observeOutside"
> {
  const { registry, enrolment, meters } = options;
  return {
    renew: renewing(peer, options, async (csr) => {
      paces.renewing.take(peer);
      return enrolment.renew(peer, csr);
    }),
    register: unary(async (request) => {
      const { workload } = await counted(
        meters.registrations,
        "registered",
        failureOf,
        async () => {
          paces.registering.take(peer);
          return registry.register(peer, parseSpec(request.spec));
        },
      );
      return { workload };
    }),
    deregister: unary(async () => {
      await registry.deregister(peer);
      return {};
    }),
    report: unary((request) => {
      registry.report(peer, request, (workload) =>
        sidecars.has(peer, feed.catalogue.get(workloadName(workload))),
      );
      return Promise.resolve({});
    }),
    observe: unary((request) => {
      observed.report(peer, request);
      return Promise.resolve({});
    }),
    observeOutside: unary((request) => {
      outside.report(peer, request);
      return Promise.resolve({});
    }),
  };
}
