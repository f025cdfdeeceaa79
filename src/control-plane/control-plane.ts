/** The control plane as a whole: opened in the order of dependence, closed in the reverse of it. */
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { keepFromWriters, makeDirectory } from "../core/directory.ts";
import { followJumps } from "../core/machine/clock-jumps.ts";
import { EXIT, messageOf, UserError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { formatHostPort } from "../core/text/host-port.ts";
import type { Watch } from "../core/watch.ts";
import type { Credentials } from "../identity/credentials.ts";
import { makeMetrics } from "../telemetry/metrics.ts";
import type { Acceptance, ApiOptions } from "./api/options.ts";
import { startApi, type ListenOptions } from "./api/server.ts";
import { checkAgainstStore } from "./checks.ts";
import { Enrolment } from "./enrolment/enrolment.ts";
import {
  openShownCertificates,
  type ShownCertificates,
} from "./enrolment/shown-certificates.ts";
import {
  ensureAdministrator,
  ensureMesh,
  type Profile,
} from "./first-start.ts";
import { openIssuer, type IssuerSettings } from "./issuer/open-issuer.ts";
import { LoopDelay } from "./loop-delay.ts";
import {
  makeControlPlaneMeters,
  MAX_SERIES,
  type ControlPlaneMeters,
} from "./meters.ts";
import { metricsText, type Observed } from "./metrics.ts";
import { keepOwnCredentials } from "./own-credentials.ts";
import { proofOfPeer } from "./push/peer.ts";
import { storeOver } from "./push/catalogue/mesh-view.ts";
import { startPushServer, type PushServer } from "./push/server.ts";
import { startRegistry, type Registry } from "./registry/registry.ts";
import * as revoking from "./enrolment/revocations.ts";
import { makeStatusReader } from "./status.ts";
import { judgeStored } from "./stored-faults.ts";
import { meterStore } from "./store/metered.ts";
import { openMemoryStore } from "./store/memory.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import { StoreError, type Store } from "./store/store.ts";
import type { ApiTracing } from "./tracing.ts";
import { RotationRunner } from "./trust/rotation-runner.ts";
import { openTrust, type Trust } from "./trust/trust.ts";

const STORE_FILE = "store.sqlite";

export interface ControlPlaneOptions {
  /** Made with mode 0700 where it is missing; holds the database, the authority and the administrator's token. */
  readonly stateDirectory: string;
  readonly store: "memory" | "sqlite";
  readonly trustDomain: string;
  readonly api: ListenOptions;
  readonly push: {
    readonly host: string;
    /** 0 takes a free one. */
    readonly port: number;
    /** "HOST:PORT" by which sidecars reach it, for enrolment tokens to carry; needed where `host` is not an address of its own. */
    readonly advertise?: string;
  };
  readonly clock: Clock;
  readonly logger: Logger;
  readonly profile: Profile;
  /** Absent: certificates are issued by the authority of the state directory. */
  readonly issuer?: IssuerSettings;
  /** Absent: the API's requests are not traced. The caller starts and closes it. */
  readonly tracing?: ApiTracing;
}

export interface ControlPlane {
  /** "http://127.0.0.1:15080" */
  readonly apiUrl: string;
  /** "HOST:PORT" of enrolment and config push. */
  readonly pushAddress: string;
  readonly adminTokenFile: string;
  readonly store: Store;
  readonly authority: Trust;
  /** How many sidecars it serves and up to where the store is, for the report of a defect. */
  inFlight(): { readonly sidecars: number; readonly fault: string | undefined };
  /** Ends the API, then the streams, then the store. A process that dies without it loses nothing that was acknowledged. */
  close(): Promise<void>;
}

/** Resolves once everything answers. Throws UserError that says what a person must fix; what was opened is closed again. */
export async function startControlPlane(
  options: ControlPlaneOptions,
): Promise<ControlPlane> {
  const closers: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    // One that fails must not keep the rest open.
    for (const closer of closers.splice(0).reverse())
      try {
        await closer();
      } catch (thrown) {
        options.logger.error(
          { reason: messageOf(thrown) },
          "a part of the control plane did not close",
        );
      }
  };
  try {
    return await assemble(options, closers, close);
  } catch (thrown) {
    await close();
    if (!(thrown instanceof StoreError)) throw thrown;
    throw new UserError(thrown.message, {
      cause: thrown,
      ...(thrown.damaged ? { exitCode: EXIT.damagedStore } : {}),
    });
  }
}

/** What is to be closed again, in the order of its opening. */
type Closers = (() => Promise<void> | void)[];

async function assemble(
  options: ControlPlaneOptions,
  closers: Closers,
  close: () => Promise<void>,
): Promise<ControlPlane> {
  const { trustDomain, clock, logger } = options;
  await useStateDirectory(options);
  const meters = makeControlPlaneMeters(makeMetrics({ maxSeries: MAX_SERIES }));
  const loop = new LoopDelay(clock);
  closers.push(() => loop.close());
  const store = meterStore(await openStore(options), meters.storeWrites, clock);
  closers.push(() => store.close());
  const authority = await openAuthorities(options, store, closers);
  await ensureMesh(store, trustDomain, options.profile);
  const adminTokenFile = await ensureAdministrator(
    store,
    clock,
    logger,
    options.stateDirectory,
  );

  const shown = await openShownCertificates({ store, clock, logger });
  closers.push(() => shown.close());
  const revocations = await revoking.openRevocations({ store, clock, logger });
  closers.push(() => revocations.close());
  const under = { store, shown, revocations };
  const registry = await openRegistry(options, under, closers);
  const core: Core = { ...under, authority, registry, meters, loop };
  const own = keepOwn(options, core, closers);
  const push = await openPush(options, core, own, closers);
  const rotation = new RotationRunner({
    ...{ trust: authority, push, registry, clock, logger },
  });
  closers.push(() => rotation.close());
  const observed = observedOf(options, core, own, push);
  let stopping = false;
  const api = await startApi(
    {
      ...apiOptions(options, core, push, () => !stopping),
      rotation,
      metrics: () => metricsText(meters, observed),
    },
    options.api,
  );
  closers.push(() => api.close());
  const pushAddress = formatHostPort(options.push.host, push.port);
  logger.info(
    { api: api.url, push: pushAddress, store: store.id, trustDomain },
    "the control plane is up",
  );
  closers.push(judgeStored({ store, clock, logger }));
  return {
    apiUrl: api.url,
    pushAddress,
    adminTokenFile,
    store,
    authority,
    inFlight: () => ({ sidecars: push.sidecars, fault: store.fault }),
    async close() {
      stopping = true;
      await close();
    },
  };
}

/** The authority of the state directory, and the issuer outside of it where there is one. */
async function openAuthorities(
  { stateDirectory, issuer, trustDomain, clock, logger }: ControlPlaneOptions,
  store: Store,
  closers: Closers,
): Promise<Trust> {
  const options = {
    directory: join(stateDirectory, "authority"),
    ...{ store, trustDomain, clock, logger },
  };
  if (issuer === undefined) return openTrust(options);
  const elsewhere = await openIssuer(issuer, { clock, logger });
  closers.push(() => elsewhere.close());
  const trust = await openTrust({ ...options, issuer: elsewhere.issuer });
  elsewhere.follow(() => trust.followIssuer());
  return trust;
}

/** What push and the API stand on. */
interface Core {
  readonly store: Store;
  readonly authority: Trust;
  readonly shown: ShownCertificates;
  readonly revocations: revoking.Revocations;
  readonly registry: Registry;
  readonly meters: ControlPlaneMeters;
  readonly loop: LoopDelay;
}

/** Throws UserError. */
async function useStateDirectory({
  stateDirectory,
  logger,
}: ControlPlaneOptions): Promise<void> {
  try {
    await makeDirectory(stateDirectory);
    const warning = await keepFromWriters(stateDirectory);
    if (warning !== undefined) logger.error(warning);
  } catch (thrown) {
    throw new UserError(
      `the state directory ${stateDirectory} cannot be used: ${messageOf(thrown)}; give another with --state`,
      { cause: thrown },
    );
  }
}

async function openRegistry(
  { clock, logger }: ControlPlaneOptions,
  { store, shown, revocations }: Pick<Core, "store" | "shown" | "revocations">,
  closers: Closers,
): Promise<Registry> {
  const registry = await startRegistry({
    ...{ store, clock, logger },
    faultOf: (peer) => revocations.faultOf(proofOfPeer(peer)),
    onTakenAway: (workload, identity) => shown.retire(workload, identity),
  });
  closers.push(
    () => registry.close(),
    revoking.followRevocations(registry, revocations, { clock, logger }),
  );
  return registry;
}

function keepOwn(
  { trustDomain, clock, logger }: ControlPlaneOptions,
  { authority, revocations, meters: { machine } }: Core,
  closers: Closers,
): Watch<Credentials> {
  const own = keepOwnCredentials({
    own: (spiffeId) => authority.own(spiffeId),
    revoked: revocations.revoked,
    ...{ trustDomain, clock, logger },
  });
  closers.push(
    () => own.close(),
    authority.offer.subscribe(() => own.trustMoved()),
    followJumps({
      ...{ clock, logger },
      count: (direction) => machine.clockJumps.with(direction).add(1),
      onJump: () => own.clockJumped(),
    }),
  );
  return own.credentials;
}

async function openPush(
  options: ControlPlaneOptions,
  { store, authority, shown, revocations, registry, meters }: Core,
  credentials: Watch<Credentials>,
  closers: Closers,
): Promise<PushServer> {
  const { trustDomain, clock, logger } = options;
  const push = await startPushServer({
    store,
    registry,
    shown,
    enrolment: new Enrolment({
      nameFault: (instance) => registry.nameFault(instance),
      untimelyFault: (peer) => registry.untimelyFault(peer),
      faultOf: (proof) => revocations.faultOf(proof),
      shown,
      store,
      issuer: authority,
      meters: meters.signing,
      trustDomain,
      clock,
      logger,
    }),
    credentials,
    trust: authority.offer,
    revoked: revocations.revoked,
    meters: meters.push,
    trustDomains: [trustDomain],
    host: options.push.host,
    port: options.push.port,
    clock,
    logger,
  });
  closers.push(() => push.close());
  return push;
}

function observedOf(
  { clock, stateDirectory, store: kind }: ControlPlaneOptions,
  { store, authority, registry, loop }: Core,
  own: Watch<Credentials>,
  push: PushServer,
): Observed {
  return {
    ...{ clock, store, registry, loop, push },
    storeFile: kind === "memory" ? undefined : join(stateDirectory, STORE_FILE),
    notAfter: () => ({
      root: authority.rootNotAfter,
      issuing: authority.issuingNotAfter,
      own: own.value.notAfter,
    }),
  };
}

function apiOptions(
  options: ControlPlaneOptions,
  { store, authority, registry, meters, loop }: Core,
  push: PushServer,
  isReady: () => boolean,
): Omit<ApiOptions, "metrics" | "rotation"> {
  const { trustDomain, clock, logger } = options;
  return {
    store,
    storeKind: options.store,
    clock,
    logger,
    trustDomain,
    trust: authority,
    enrolmentAddress: () => advertised(options, push.port),
    mesh: push.mesh,
    openStatus: makeStatusReader({
      ...{ mesh: push.mesh, push, observed: push.observed },
      lease: (workload) => registry.lease(workload),
    }),
    checkInPlace: (resources) =>
      checkAgainstStore(resources, {
        store: storeOver(push.mesh),
        mesh: push.mesh,
        observed: push.observed,
        trustDomain,
        clock,
      }),
    isLeased: (namespace, name) =>
      registry.lease(`${namespace}/${name}`)?.confirmed === true,
    unconfirmed: () => registry.unconfirmed(),
    observed: push.observed,
    outside: push.outside,
    push,
    acceptance: acceptanceOf(store, push),
    isReady,
    loop,
    meters: meters.api,
    ...(options.tracing === undefined ? {} : { tracing: options.tracing }),
  };
}

async function openStore(options: ControlPlaneOptions): Promise<Store> {
  const { clock, logger, stateDirectory } = options;
  const file = join(stateDirectory, STORE_FILE);
  return options.store === "memory"
    ? openMemoryStore({ clock })
    : openSqliteStore({ file, clock, logger });
}

function acceptanceOf(store: Store, push: PushServer): Acceptance {
  let accepted = false;
  return {
    get accepted() {
      return accepted;
    },
    async accept() {
      await push.accept(store.id);
      accepted = true;
    },
  };
}

/** Sidecars cannot call an unspecified address: then nothing is better than that. */
function advertised(
  { push }: ControlPlaneOptions,
  port: number,
): string | undefined {
  if (push.advertise !== undefined) return push.advertise;
  return push.host === "0.0.0.0" || push.host === "::"
    ? undefined
    : formatHostPort(push.host, port);
}
