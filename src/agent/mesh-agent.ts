/** The agent of a sidecar in a mesh: serves at once from what the disk holds, and follows the control plane in the background for as long as it runs. */
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { PacedWork } from "../core/paced-work.ts";
import type { Bytes } from "../core/units.ts";
import { Revoked } from "../identity/revoked.ts";
import { parseToken } from "../push/token.ts";
import { MESH_DEFAULTS } from "../resources/mesh/schema.ts";
import { threadCpu } from "../runtime/thread-cpu.ts";
import { waitFor, watchSource, type Watch } from "../core/watch.ts";
import type { WorkloadSpec } from "../resources/workload/schema.ts";
import type { Agent, Peers } from "./agent.ts";
import { AgentStatus } from "./agent-status.ts";
import {
  startCertificates,
  type Certificates,
  type EnrolmentTokenText,
} from "./enrolment/certificates.ts";
import { makeConfig, MAX_CONFIG_BYTES, type Config } from "./config.ts";
import {
  loadRequests,
  splitAddress,
  unreadableToken,
} from "./enrolment/enrol.ts";
import { followControlPlane, type FollowOptions } from "./follow.ts";
import { MeshInterest, type Declared } from "./interest/mesh-interest.ts";
import { MeshConfig } from "./mesh-config.ts";
import type { ObservedCall, OutsideCall } from "../push/messages.ts";
import {
  Observations,
  type ObservationsOptions,
} from "./observed/observations.ts";
import { INCOMING, OUTSIDE } from "./observed/sorts.ts";
import { Registration } from "./registration.ts";
import { Reports } from "./reports.ts";
import { openStateDirectory, type StateDirectory } from "./state-directory.ts";

export interface AgentOptions {
  /** "HOST:PORT" of the control plane's push port. */
  readonly controlPlane: string;
  readonly stateDirectory: string;
  /**
   * Whether the directory and the place in the mesh are this process's: until then it writes nothing, and does not follow the control
   * plane, which would end the stream of the process before. Absent: they are.
   */
  readonly turn?: Watch<boolean> | undefined;
  /** Text of an enrolment token; needed until there is a certificate on disk, and again should that expire. */
  readonly token?: EnrolmentTokenText;
  /** Instance name to enrol under; absent: the control plane makes one. */
  readonly name?: string;
  /** What to register, asked for at each registration; absent or undefined: nothing. `ready` is the agent's to set. */
  readonly workload?: () => WorkloadSpec | undefined;
  /** Version of this software, for the control plane to show. */
  readonly version: string;
  /** MAX_CONFIG_BYTES where absent. */
  readonly maxConfigBytes?: Bytes;
  /** What it holds of the mesh: all that is in scope, or what it uses and what is declared here. All where absent. */
  readonly interest?: Declared | undefined;
  readonly peers?: Peers | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Resolves when the disk has been read. Throws UserError where the options or the directory cannot be used. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { version, clock, logger } = options;
  splitAddress(options.controlPlane);
  const { turn = watchSource(true) } = options;
  const directory = await openStateDirectory(options.stateDirectory, clock, {
    shared: !turn.value,
  });
  for (const fault of [directory.readOnly, directory.warning])
    if (fault !== undefined) logger.warn(fault);
  const stop = new AbortController();
  const work = new PacedWork({ clock, cpu: threadCpu });
  const inForce = makeConfig(clock, options.peers, work);
  const workload = (): WorkloadSpec | undefined => options.workload?.();
  const registration = new Registration({ workload, clock, logger });
  const reports = new Reports({ clock, logger });
  const seen = observationsOf({ clock, logger });
  const revoked = revokedIn(inForce);
  const certificates = await certificatesOf(options, directory, {
    config: inForce,
    ...{ work, revoked },
  });
  const status = new AgentStatus({
    config: inForce,
    fault: certificates.fault,
    registration: registration.state,
  });
  const interest = interestOf(options, () => {
    if (turn.value && !stop.signal.aborted) config.interestChanged();
  });
  const config = new MeshConfig({
    config: inForce,
    interest,
    status,
    directory,
    ...{ workload, version, clock, logger },
  });

  if (certificates.latest !== undefined)
    await config.become(certificates.latest).catch((thrown: unknown) => {
      status.update({ streamError: messageOf(thrown) });
    });
  status.update({ keepError: directory.readOnly });
  const follow: FollowOptions = {
    controlPlane: options.controlPlane,
    credentials: certificates.issued,
    onRefused: () => certificates.lookAgain(),
    onTrust: (signed) => certificates.trust(signed),
    maxConfigBytes: options.maxConfigBytes ?? MAX_CONFIG_BYTES,
    signal: stop.signal,
    ...{ config, interest, registration, reports, ...seen },
    ...{ status, work, revoked, clock, logger },
  };
  const following = followInTurn(follow, turn).catch((thrown: unknown) => {
    if (!stop.signal.aborted)
      logger.error(
        { reason: messageOf(thrown) },
        "the control plane is not followed any more: a defect",
      );
  });

  const parts = {
    ...{ certificates, config, interest },
    ...{ registration, reports, ...seen },
  };
  return {
    snapshot: inForce.snapshot,
    state: status.state,
    ...agentOf(parts, following, stop),
  };
}

interface AgentParts {
  readonly certificates: Certificates;
  readonly config: MeshConfig;
  readonly interest: MeshInterest | undefined;
  readonly registration: Registration;
  readonly reports: Reports;
  readonly observations: Observations<ObservedCall>;
  readonly outside: Observations<OutsideCall>;
}

function agentOf(
  parts: AgentParts,
  following: Promise<unknown>,
  stop: AbortController,
): Omit<Agent, "snapshot" | "state"> {
  const { certificates, config, interest, registration } = parts;
  const { reports, observations, outside } = parts;
  const end = async (why: string): Promise<void> => {
    stop.abort(new Error(why));
    await Promise.all([following, registration.close(), certificates.close()]);
    await config.close();
  };
  return {
    credentials: certificates.credentials,
    newest: () => certificates.latest,
    lookups: interest,
    reports,
    observations,
    outside,
    clockJumped: () => certificates.lookAgain(),
    setReady: (ready, silent) => registration.setReady(ready, silent),
    deregister: () => registration.deregister(),
    async loadRest() {
      await loadRequests();
    },
    keep: () => config.keep(),
    async letGo() {
      await interest?.settled();
      await end("another process of this sidecar goes on");
      // Connections outlive this process' turn, and policy changes.
      await config.followDisk();
    },
    async close() {
      interest?.close();
      reports.close();
      observations.close();
      outside.close();
      await end("the sidecar is stopping");
    },
  };
}

function observationsOf(
  options: ObservationsOptions,
): Pick<FollowOptions, "observations" | "outside"> {
  return {
    observations: new Observations(INCOMING, options),
    outside: new Observations(OUTSIDE, options),
  };
}

/** As `followControlPlane`, from the turn on. */
async function followInTurn(
  options: FollowOptions,
  turn: Watch<boolean>,
): Promise<never> {
  await waitFor(turn, (mine) => mine, options.signal);
  return followControlPlane(options);
}

/** What the config in force says of it. */
function revokedIn({ snapshot }: Config): Watch<Revoked> {
  const revoked = watchSource(Revoked.NONE);
  snapshot.subscribe((next) => revoked.set(next?.revoked ?? Revoked.NONE));
  return revoked;
}

function interestOf(
  { clock, interest: declared }: AgentOptions,
  onChange: () => void,
): MeshInterest | undefined {
  return declared === undefined
    ? undefined
    : new MeshInterest({ clock, declared, onChange });
}

/** Throws UserError where there is neither a certificate on disk nor a token that can be read. */
async function certificatesOf(
  options: AgentOptions,
  directory: StateDirectory,
  parts: {
    readonly config: Config;
    readonly work: PacedWork;
    readonly revoked: Watch<Revoked>;
  },
): Promise<Certificates> {
  const { controlPlane, token, name = "", clock, logger } = options;
  const { work, config, revoked } = parts;
  const certificates = await startCertificates({
    address: controlPlane,
    ...{ token, name, directory, work, clock, logger },
    turn: options.turn,
    revoked: () => revoked.value,
    rotateAt: () =>
      (config.snapshot.value?.mesh ?? MESH_DEFAULTS).mtls.rotateAt,
  });
  replanOnce(certificates, config);
  // Without a certificate such a token leads nowhere; with one it is not needed, and the mesh goes on (law 8).
  if (
    certificates.latest === undefined &&
    typeof token === "string" &&
    parseToken(token) === undefined
  ) {
    await certificates.close();
    throw unreadableToken();
  }
  return certificates;
}

/** The first renewal was planned without a config. A later change counts from the next one on: a fleet is not to renew at once for it. */
function replanOnce(certificates: Certificates, { snapshot }: Config): void {
  let isPlanned = false;
  snapshot.subscribe((next) => {
    if (isPlanned || next === undefined) return;
    isPlanned = true;
    certificates.replan();
  });
}
