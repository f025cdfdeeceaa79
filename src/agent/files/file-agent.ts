/** The agent of a sidecar without a control plane: the same resources through the same compiler, from files, read again when they change. */
import type { Clock } from "../../core/clock.ts";
import { keepAlive } from "../../core/keep-alive.ts";
import type { Logger } from "../../core/log.ts";
import type { Bytes } from "../../core/units.ts";
import { watchSource } from "../../core/watch.ts";
import type { Agent, AgentState, Peers } from "../agent.ts";
import { makeConfig, MAX_CONFIG_BYTES, type Config } from "../config.ts";
import {
  openFileCertificate,
  type FileCertificate,
  type FileCertificateOptions,
  type IdentityFiles,
} from "./file-certificate.ts";
import { openFileIdentity, type FileIdentity } from "./file-identity.ts";
import { FileConfig } from "./file-config.ts";
import type { DeclaredSelf } from "../self.ts";
import { listResources } from "./look.ts";
import { directoriesOf, watchFiles, type FileWatcher } from "./watch-files.ts";

export interface FileAgentOptions {
  /** A file, or a directory of .yaml, .yml and .json files. */
  readonly resources: string;
  /** PEM files, the certificate's leaf first; or the address of a Workload API. */
  readonly identity: IdentityFiles | string;
  /** What the certificate does not bind itself. */
  readonly self: DeclaredSelf;
  /** Files that hold far fewer resources than before, or none, are meant so. */
  readonly allowShrink?: boolean;
  /** MAX_CONFIG_BYTES where absent. */
  readonly maxConfigBytes?: Bytes;
  readonly peers?: Peers | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Rejects with UserError where the files cannot be used: there is nothing older to serve. The first certificate of a Workload API is waited for. */
export async function startFileAgent(
  options: FileAgentOptions,
): Promise<Agent> {
  const { resources: path, allowShrink = false, clock, logger } = options;
  const inForce = makeConfig(options.clock, options.peers);
  const state = watchSource<AgentState>({ source: "files", connected: true });
  const refresh = (): void => state.set(stateOf(inForce, config, certificate));
  const identity = await openFileIdentity(options.identity, options);
  const certificate = await firstCertificate(identity, {
    declared: options.self,
    onChange: refresh,
    clock,
    logger,
  });
  const config = new FileConfig({
    path,
    allowShrink,
    maxConfigBytes: options.maxConfigBytes ?? MAX_CONFIG_BYTES,
    config: inForce,
    self: () => certificate.self,
    onChange: refresh,
    clock,
    logger,
  });
  // Watched before they are read: a change in between is not missed.
  const watcher = await watchAll(options, config, certificate, identity);
  const close = async (): Promise<void> => {
    config.close();
    certificate.close();
    await Promise.all([watcher.close(), identity.close()]);
  };
  const mayEnd = keepAlive();
  try {
    await config.loadFirst();
  } catch (thrown) {
    await close();
    throw thrown;
  } finally {
    mayEnd();
  }
  certificate.watchExpiry();

  return {
    snapshot: inForce.snapshot,
    credentials: certificate.credentials,
    state,
    // There is nobody to tell: other sidecars know this one by files of their own.
    setReady: () => Promise.resolve(),
    deregister: () => Promise.resolve(),
    clockJumped() {
      certificate.watchExpiry();
      refresh();
    },
    close,
  };
}

/** Waits for it as long as it takes. */
async function firstCertificate(
  identity: FileIdentity,
  options: Omit<FileCertificateOptions, "source">,
): Promise<FileCertificate> {
  const mayEnd = keepAlive();
  try {
    const { source } = identity;
    return await openFileCertificate({ source, ...options });
  } catch (thrown) {
    await identity.close();
    throw thrown;
  } finally {
    mayEnd();
  }
}

async function watchAll(
  { resources: path, clock }: FileAgentOptions,
  config: FileConfig,
  certificate: FileCertificate,
  identity: FileIdentity,
): Promise<FileWatcher> {
  const watcher = await watchFiles({
    list: () => listResources(path),
    directories: [path, ...directoriesOf([path])],
    clock,
    onChange: (signature) => config.reload(signature),
    onRestless: (ms) => config.restless(ms),
  });
  await identity.follow(async () => {
    const before = JSON.stringify(certificate.self);
    const changed =
      (await certificate.reload()) &&
      JSON.stringify(certificate.self) !== before;
    if (changed) await config.describeAnew();
  });
  return watcher;
}

function stateOf(
  { current }: Config,
  { refused }: FileConfig,
  { error, alarm }: FileCertificate,
): AgentState {
  return {
    source: "files",
    connected: true,
    ...(current === undefined
      ? {}
      : { version: current.version, configReceivedAt: current.receivedAt }),
    ...(refused === undefined ? {} : { refused }),
    ...(error === undefined ? {} : { lastError: error }),
    ...(alarm === undefined ? {} : { certificateAlarm: alarm }),
  };
}
