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
} from "./file-certificate.ts";
import { FileConfig } from "./file-config.ts";
import type { DeclaredSelf } from "../self.ts";
import { directoriesOf, watchFiles, type FileWatcher } from "./watch-files.ts";

export interface FileAgentOptions {
  /** A file, or a directory of .yaml, .yml and .json files. */
  readonly resources: string;
  /** PEM files; the certificate's leaf first. */
  readonly certificate: string;
  readonly privateKey: string;
  readonly trustBundle: string;
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

/** Rejects with UserError where the files cannot be used: there is nothing older to serve. */
export async function startFileAgent(
  options: FileAgentOptions,
): Promise<Agent> {
  const { resources: path, allowShrink = false, clock, logger } = options;
  const { certificate: leaf, privateKey, trustBundle } = options;
  const inForce = makeConfig(options.clock, options.peers);
  const state = watchSource<AgentState>({ source: "files", connected: true });
  const refresh = (): void => state.set(stateOf(inForce, config, certificate));
  const certificate = await openFileCertificate({
    files: { certificate: leaf, privateKey, trustBundle },
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
  const watchers = await watchAll(options, config, certificate);
  const close = async (): Promise<void> => {
    config.close();
    certificate.close();
    await Promise.all(watchers.map((watcher) => watcher.close()));
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

async function watchAll(
  options: FileAgentOptions,
  config: FileConfig,
  certificate: FileCertificate,
): Promise<readonly FileWatcher[]> {
  const { resources: path, clock } = options;
  const identityFiles = [
    options.certificate,
    options.privateKey,
    options.trustBundle,
  ];
  return [
    await watchFiles({
      list: config.list,
      directories: [path, ...directoriesOf([path])],
      clock,
      onChange: (look) => config.reload(look),
      onRestless: (ms) => config.restless(ms),
    }),
    await watchFiles({
      list: () => Promise.resolve(identityFiles),
      directories: directoriesOf(identityFiles),
      clock,
      onChange: async () => {
        const before = JSON.stringify(certificate.self);
        const changed =
          (await certificate.reload()) &&
          JSON.stringify(certificate.self) !== before;
        if (changed) await config.describeAnew();
      },
    }),
  ];
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
