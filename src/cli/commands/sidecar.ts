/** `wherry sidecar`: the proxy beside one instance of a service, until it is asked to stop. */
import { join } from "node:path";
import type { Command } from "commander";
import type { Agent, Peers } from "../../agent/agent.ts";
import type { FileAgentOptions } from "../../agent/files/file-agent.ts";
import type { EnrolmentTokenText } from "../../agent/enrolment/certificates.ts";
import type { Clock } from "../../core/clock.ts";
import { EXIT, messageOf, systemCode, UserError } from "../../core/errors.ts";
import { defectIn, makeLogger, type Logger } from "../../core/log.ts";
import {
  openLocalToken,
  type LocalToken,
} from "../../core/local/local-token.ts";
import type { Watch } from "../../core/watch.ts";
import { inSlices, nextTurn } from "../../core/slices.ts";
import { DEFECT_DRAIN } from "../../runtime/last-resort.ts";
import { packageVersion } from "../../runtime/package.ts";
import { readSecret } from "../../core/secret-file.ts";
import { compileSooner } from "../../runtime/v8.ts";
import { keepFreed, whyNoForeignFunctions } from "../../runtime/libc.ts";
import { resolveLimits } from "../../proxy/downstream/limits.ts";
import type { ProcessLife } from "../../runtime/process-life.ts";
import { isOfSupervisor } from "../../runtime/stop-signals.ts";
import { receiveSigusr1 } from "../../runtime/user-signals.ts";
import { leaveStartBehind, trimMemory } from "../../runtime/memory-trim.ts";
import {
  startSidecar,
  type BoundPorts,
  type Sidecar,
} from "../../sidecar/sidecar.ts";
import { claim, type Predecessor } from "../../sidecar/handover/claim.ts";
import { offerHandOver } from "../../sidecar/handover/offer.ts";
import { takeOver } from "../../sidecar/handover/take-over.ts";
import { prepareValidators } from "../../resources/validate.ts";
import { untilStopped, type CliContext } from "../context.ts";
import { pairsOf } from "../settings.ts";
import {
  sidecarTelemetry,
  type SidecarTelemetry,
} from "../sidecar-telemetry.ts";
import {
  withSidecarOptions,
  type SidecarCommandOptions,
} from "../sidecar-options.ts";
import {
  applicationPorts,
  applicationProcess,
  countOf,
  declaredOf,
  instanceNameOf,
  nameOf,
  settingsOf,
  workloadOf,
} from "../sidecar-settings.ts";

/** Not the control plane's name for its own, as both may be given one directory. */
const ADMIN_TOKEN_FILE = "sidecar-admin.token";

export function registerSidecar(program: Command, context: CliContext): void {
  withSidecarOptions(program.command("sidecar"))
    .description("proxy all traffic of one instance of a service")
    .action((options: SidecarCommandOptions) => runSidecar(context, options));
}

async function runSidecar(
  context: CliContext,
  options: SidecarCommandOptions,
): Promise<void> {
  const { clock } = context;
  const logger = makeLogger({
    level: options.logLevel,
    bindings: { component: "sidecar", workload: nameOf(options) },
  });
  const settings = settingsOf(options);
  const application = applicationProcess(options);
  const appPorts = applicationPorts(options);
  let agent: Agent | undefined;
  const before = await claimed(options, clock, logger);
  const adminToken = await adminTokenOf(options, logger);
  const telemetry = sidecarTelemetry(context, options, logger, {
    agent: () => agent,
    metrics: () => sidecar.metrics(),
  });
  const sidecar: Sidecar = await startSidecar({
    ...settings,
    agent: async (ports, peers) => {
      agent = await startOwnAgent(
        { context, options, logger, peers, turn: before?.turn },
        appPorts,
        ports,
      );
      leaveStartBehind("large");
      return agent;
    },
    handed: before?.sockets,
    adminToken,
    application,
    ...telemetry.tracing,
    clock,
    logger,
    onLost: (error) => context.lastResort?.tell(error, "worker"),
  });
  context.lastResort?.protect({
    component: "sidecar",
    stateDirectory: options.state,
    inFlight: () => ({ ...sidecar.inFlight, agent: sidecar.agent.state.value }),
  });
  answerUserSignals(context, options, sidecar, logger);
  const { memoryBytes } = resolveLimits(settings.limits);
  const stopTrimming = trimMemory({ clock, memoryBytes });
  const { stop } = context;
  if (before !== undefined)
    await takeOver(sidecar, before, { telemetry, clock, logger, stop });
  logger.info(portsOf(sidecar.ports), "the sidecar listens");
  const { state: directory } = options;
  const withdraw = await offerHandOver({ directory, sidecar, clock, logger });
  whenReady(sidecar, clock, logger, telemetry);
  await Promise.race([
    untilStopped(context),
    untilEnded(application, clock),
    sidecar.over,
  ]);
  withdraw();
  await sidecar.shutDown({
    outliveApplication: isOfSupervisor(context.stop),
    most: context.lastResort?.ending === true ? DEFECT_DRAIN : undefined,
  });
  const lost = await sidecar.over;
  stopTrimming();
  if (lost !== undefined) context.exitCode = EXIT.defect;
  await telemetry.close();
  logger.info("stopped");
}

/** The process that is to be replaced, if any. */
async function claimed(
  { takeOver: wanted, state }: SidecarCommandOptions,
  clock: Clock,
  logger: Logger,
): Promise<Predecessor | undefined> {
  return wanted === true ? claim(state, clock, logger) : undefined;
}

/** SIGUSR1 follows an access log that was renamed, as logrotate's users know it. */
function answerUserSignals(
  { userSignals }: CliContext,
  { accessLogFile }: SidecarCommandOptions,
  sidecar: Sidecar,
  logger: Logger,
): void {
  userSignals?.answer((signal) => {
    if (signal === "SIGUSR1") reopenAccessLog(sidecar, logger);
    else logger.warn({ signal }, "the signal does nothing here");
  });
  if (accessLogFile !== undefined && !receiveSigusr1())
    logger.warn(
      { file: accessLogFile },
      "SIGUSR1 does not reach this process, which lacks the package koffi or Linux: rotate the access log with logrotate's copytruncate",
    );
}

function reopenAccessLog(sidecar: Sidecar, logger: Logger): void {
  try {
    if (sidecar.reopenAccessLog())
      logger.info("the access log was opened anew");
    else
      logger.info(
        { signal: "SIGUSR1" },
        "there is no --access-log-file to be opened anew",
      );
  } catch (thrown) {
    logger.error(
      { error: messageOf(thrown) },
      "the access log cannot be opened anew, so lines still go to the file from before: check its directory, and send SIGUSR1 once more",
    );
  }
}

/** Milliseconds between two looks at the process of --exit-with. */
const LOOK = 500;

/** Never, where no process is known. */
function untilEnded(
  application: ProcessLife | undefined,
  clock: Clock,
): Promise<void> {
  return new Promise((resolve) => {
    if (application === undefined) return;
    const stop = clock.every(LOOK, () => {
      if (application.alive) return;
      stop();
      resolve();
    });
  });
}

function whenReady(...parts: Parameters<typeof onReady>): void {
  const [sidecar, , logger] = parts;
  sidecar.whenReady
    .then(() => onReady(...parts))
    .catch(defectIn(logger, "the work of a sidecar that is ready"));
}

async function onReady(
  { agent }: Sidecar,
  clock: Clock,
  logger: Logger,
  telemetry: SidecarTelemetry,
): Promise<void> {
  const { source, configReceivedAt } = agent.state.value;
  const age =
    configReceivedAt === undefined
      ? undefined
      : Math.round((clock.wall() - configReceivedAt) / 1000);
  logger.info(
    { source, configAgeSeconds: age },
    source === "disk"
      ? "ready, with the config from disk: the control plane has not confirmed it yet"
      : "ready",
  );
  // The SDK is large: it is loaded once traffic is served, by this process or the one before.
  await telemetry.start();
  await agent.loadRest?.();
  await inSlices(prepareValidators(), nextTurn);
  leaveStartBehind("small");
  keepFreed();
  compileSooner();
  tellMissing(logger);
}

/** What this machine lacks that another has, once. */
function tellMissing(logger: Logger): void {
  const { platform } = process;
  const fault = whyNoForeignFunctions();
  if (platform !== "linux")
    logger.info(
      { platform, ...(fault === undefined ? {} : { koffi: fault }) },
      "this machine is not Linux: the sidecar serves in explicit mode; captured calls, --concurrency and --take-over need Linux, and more memory is kept",
    );
  else if (fault !== undefined)
    logger.warn(
      { error: fault },
      "the package koffi cannot be loaded, so the sidecar keeps some 20 to 50 MiB more: install what package.json lists, for this machine",
    );
}

/** Made beside what else the sidecar keeps. Where there is no place for it the sidecar serves all the same, and its admin port shows and changes nothing. */
async function adminTokenOf(
  { state }: SidecarCommandOptions,
  logger: Logger,
): Promise<LocalToken | undefined> {
  try {
    return await openLocalToken(join(state, ADMIN_TOKEN_FILE));
  } catch (thrown) {
    logger.warn(
      { error: messageOf(thrown), directory: state },
      "no token for the admin port can be kept there, so nobody can change the log's level or drain by it: give a directory of its own with --state",
    );
    return undefined;
  }
}

/** What an agent is started with besides its options. */
interface OwnAgent {
  readonly context: CliContext;
  readonly options: SidecarCommandOptions;
  readonly logger: Logger;
  readonly peers: Peers | undefined;
  /** Where this process takes over: whether it has. */
  readonly turn: Watch<boolean> | undefined;
}

/** The agent of a mesh, or that of files where there is no control plane. */
function startOwnAgent(
  own: OwnAgent,
  appPorts: Record<string, number>,
  bound: BoundPorts,
): Promise<Agent> {
  const { resources } = own.options;
  return resources === undefined
    ? startMeshAgent(own, appPorts, bound)
    : startFileAgent(own, resources, appPorts);
}

async function startFileAgent(
  { context, options, logger, peers }: OwnAgent,
  resources: string,
  appPorts: Record<string, number>,
): Promise<Agent> {
  const { controlPlane } = options;
  const maxConfigBytes = maxConfigBytesOf(options);
  if (controlPlane !== undefined)
    throw new UserError(
      "--resources is for a sidecar without a control plane: leave --control-plane out, or it",
    );
  const identity = identityOf(options);
  const self = {
    name: nameOf(options),
    labels: pairsOf("--label", options.label ?? []),
    ports: appPorts,
    ...(options.locality === undefined ? {} : { locality: options.locality }),
  };
  // Only the agent that is asked for is loaded: gRPC is large, and files have no use for it.
  const agent = await import("../../agent/files/file-agent.ts");
  return agent.startFileAgent({
    resources,
    identity,
    self,
    ...maxConfigBytes,
    allowShrink: options.allowShrink === true,
    peers,
    clock: context.clock,
    logger,
  });
}

/** Files, or the address of a Workload API. Throws UserError. */
function identityOf({
  certificate,
  privateKey,
  trustBundle,
  workloadApi,
}: OwnAgent["options"]): FileAgentOptions["identity"] {
  const files = [certificate, privateKey, trustBundle];
  if (workloadApi !== undefined) {
    if (files.some((file) => file !== undefined))
      throw new UserError(
        "specify either --workload-api or --certificate, --private-key and --trust-bundle, not both",
      );
    return workloadApi;
  }
  if (
    certificate === undefined ||
    privateKey === undefined ||
    trustBundle === undefined
  )
    throw new UserError(
      "--resources needs --certificate, --private-key and --trust-bundle, or --workload-api",
    );
  return { certificate, privateKey, trustBundle };
}

async function startMeshAgent(
  { context, options, logger, peers, turn }: OwnAgent,
  appPorts: Record<string, number>,
  bound: BoundPorts,
): Promise<Agent> {
  const maxConfigBytes = maxConfigBytesOf(options);
  if (options.controlPlane === undefined)
    throw new UserError(
      "where does the config come from? --control-plane HOST:PORT, or --resources PATH without one",
    );
  if (options.label !== undefined)
    throw new UserError(
      "--label: in a mesh, labels are bound to the enrolment token (wherry token create --label …), for policy trusts them",
    );
  const token = await tokenOf(options);
  const { startAgent } = await import("../../agent/mesh-agent.ts");
  const interest =
    settingsOf(options).scope === "all" ? undefined : declaredOf(options);
  return startAgent({
    interest,
    controlPlane: options.controlPlane,
    stateDirectory: options.state,
    turn,
    ...(token === undefined ? {} : { token }),
    name: instanceNameOf(options),
    workload: () => workloadOf(options, appPorts, bound),
    version: packageVersion(),
    ...maxConfigBytes,
    peers,
    clock: context.clock,
    logger,
  });
}

function maxConfigBytesOf({ maxConfigBytes }: SidecarCommandOptions): {
  readonly maxConfigBytes?: number;
} {
  return maxConfigBytes === undefined
    ? {}
    : { maxConfigBytes: countOf("--max-config-bytes", maxConfigBytes) };
}

async function tokenOf(
  options: SidecarCommandOptions,
): Promise<EnrolmentTokenText> {
  const { tokenFile } = options;
  if (tokenFile === undefined)
    return options.token === "" ? undefined : options.token;
  if (options.waitForToken === true) return () => readTokenNow(tokenFile);
  return (await readSecret(tokenFile, "--token-file")).trim();
}

/** Undefined where the file is not there yet. Throws UserError. */
async function readTokenNow(file: string): Promise<string | undefined> {
  try {
    return (await readSecret(file, "--token-file")).trim() || undefined;
  } catch (thrown) {
    if (thrown instanceof UserError && systemCode(thrown.cause) === "ENOENT")
      return undefined;
    throw thrown;
  }
}

function portsOf({
  outbound,
  inbound,
  link,
  admin,
  metrics,
}: BoundPorts): Record<string, number | undefined> {
  return { outbound, inbound, link, admin, metrics };
}
