/** The agent of a sidecar without a control plane: the same resources through the same compiler, from files, read again when they change. */
import { readFile } from "node:fs/promises";
import { timestamp, wait, type Cancel, type Clock } from "../core/clock.ts";
import { messageOf, UserError } from "../core/errors.ts";
import { keepAlive } from "../core/keep-alive.ts";
import type { Logger } from "../core/log.ts";
import { readSecret } from "../core/secret-file.ts";
import { watchSource } from "../core/watch.ts";
import { loadCredentials, type Credentials } from "../identity/credentials.ts";
import type { SelfDescription } from "../policy/snapshot.ts";
import { alarm } from "../push/alarm.ts";
import type { Agent, AgentState, RefusedConfig, Sharers } from "./agent.ts";
import { makeConfig, MAX_CONFIG_BYTES } from "./config.ts";
import { doubtOf, type Facts } from "./doubt.ts";
import {
  fileVersion,
  listResourceFiles,
  loadResourceFiles,
  newestChange,
} from "./resource-files.ts";
import { describeSelf, type DeclaredSelf } from "./self.ts";
import type { ReceivedResources } from "./staging.ts";
import { directoriesOf, SETTLE, signature, watchFiles } from "./watch-files.ts";

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
  readonly maxConfigBytes?: number;
  readonly sharers?: Sharers | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Rejects with UserError where the files cannot be used: there is nothing older to serve. */
export async function startFileAgent(
  options: FileAgentOptions,
): Promise<Agent> {
  const {
    clock,
    logger,
    resources: path,
    certificate,
    privateKey,
    trustBundle,
  } = options;
  const maxConfigBytes = options.maxConfigBytes ?? MAX_CONFIG_BYTES;
  const config = makeConfig(options.sharers);
  const credentials = watchSource<Credentials>(await readCredentials(options));
  let self = describeSelf(credentials.value, options.self);
  const stop = new AbortController();
  /** Of the files whose resources are in force. */
  let facts: Facts = new Map();
  let revision = 0;
  let refused: RefusedConfig | undefined;
  let certificateError: string | undefined;
  let certificateAlarm: string | undefined;
  const state = watchSource<AgentState>({ source: "files", connected: true });

  const refresh = (): void => {
    const { current } = config;
    state.set({
      source: "files",
      connected: true,
      ...(current === undefined
        ? {}
        : { version: current.version, configReceivedAt: current.receivedAt }),
      ...(refused === undefined ? {} : { refused }),
      ...(certificateError === undefined
        ? {}
        : { lastError: certificateError }),
      ...(certificateAlarm === undefined ? {} : { certificateAlarm }),
    });
  };

  const list = (): Promise<readonly string[]> => listResourceFiles(path);

  const refuse = (reason: string, what: string): void => {
    refused = { reason, at: clock.wall() };
    logger.error({ reason }, what);
    refresh();
  };

  /** Throws UserError. */
  const putInForce = async (
    resources: ReceivedResources,
    digest: string,
  ): Promise<void> => {
    revision += 1;
    const version = fileVersion(revision, digest);
    const reason = await config.take(
      { version, receivedAt: clock.wall(), resources },
      self,
    );
    if (reason !== undefined) throw new UserError(reason);
    refused = undefined;
    refresh();
  };

  /** Waits `ms`; false where the files change meanwhile. */
  const staySame = async (files: string, ms: number): Promise<boolean> => {
    for (let waited = 0; waited < ms; waited += SETTLE) {
      await wait(clock, SETTLE, stop.signal);
      if ((await signature(list)) !== files) return false;
    }
    return true;
  };

  /** False where the files were changed meanwhile: the watcher comes again. Throws UserError. */
  const loadConfig = async (): Promise<boolean> => {
    const files = await signature(list);
    const loaded = await loadResourceFiles(path, maxConfigBytes, clock.wall());
    if ((await signature(list)) !== files) return false;
    const doubt = doubtOf(loaded.facts, facts, options.allowShrink === true);
    if (doubt?.kind === "refuse") throw new UserError(doubt.reason);
    // At the start there is nothing older to serve.
    if (doubt?.kind === "wait" && config.current !== undefined) {
      refuse(
        doubt.reason,
        "the changed resources are looked at again before they are used; the ones in force stay",
      );
      if (!(await staySame(files, doubt.ms))) return false;
    }
    await putInForce(loaded.resources, loaded.digest);
    ({ facts } = loaded);
    for (const warning of loaded.warnings) logger.warn(warning);
    return true;
  };

  /** Runs what puts a config in force; the one there is stays where that fails. */
  const attempt = async (work: () => Promise<boolean>): Promise<void> => {
    try {
      if (await work())
        logger.info(
          { resources: path, revision },
          "the changed resources are in force",
        );
    } catch (thrown) {
      if (stop.signal.aborted) return;
      refuse(
        messageOf(thrown),
        "the changed resources cannot be used; the ones in force stay",
      );
    }
  };

  /** The same resources, for a workload that is described otherwise. */
  const describeAnew = (): Promise<void> =>
    attempt(async () => {
      const { current } = config;
      if (current === undefined) return false;
      await putInForce(current.resources, current.version.digest);
      return true;
    });

  /** Files that were written a moment ago may be written to yet. */
  const loadFirst = async (): Promise<void> => {
    const start = await signature(list);
    const age = clock.wall() - (await newestChange(list));
    if (age >= 0 && age < SETTLE && !(await staySame(start, SETTLE)))
      return loadFirst();
    if (!(await loadConfig())) await loadFirst();
  };

  let cancelAlarm: Cancel = () => undefined;
  const watchExpiry = ({
    notBefore,
    notAfter,
  }: Pick<Credentials, "notBefore" | "notAfter">): void => {
    cancelAlarm();
    certificateAlarm = undefined;
    const raise = (text: string): void => {
      certificateAlarm = text;
      logger.error(text);
      refresh();
    };
    if (clock.wall() < notBefore) {
      raise(
        `the certificate in ${certificate} is not valid before ${timestamp(notBefore)}, and no peer takes it until then: check the clock of this machine`,
      );
      cancelAlarm = alarm(clock, notBefore, () => {
        watchExpiry({ notBefore, notAfter });
        refresh();
      });
      return;
    }
    cancelAlarm = alarm(clock, notAfter - (notAfter - notBefore) / 4, () => {
      const verb = clock.wall() < notAfter ? "expires" : "expired";
      raise(
        `the certificate in ${certificate} ${verb} at ${timestamp(notAfter)}: put its successor there`,
      );
    });
  };

  const reloadCredentials = async (): Promise<void> => {
    try {
      const next = await readCredentials(options);
      const renamed: SelfDescription = describeSelf(next, options.self);
      certificateError = undefined;
      credentials.set(next);
      watchExpiry(next);
      logger.info(
        { identity: next.id, expiresAt: timestamp(next.notAfter) },
        "the changed certificate is in use",
      );
      const changed = JSON.stringify(renamed) !== JSON.stringify(self);
      self = renamed;
      if (changed) await describeAnew();
    } catch (thrown) {
      // Three files are rarely replaced at one moment: the next one to change makes it whole.
      certificateError = `the changed certificate cannot be used: ${messageOf(thrown)}`;
      logger.error(
        { reason: messageOf(thrown) },
        "the changed certificate cannot be used; the one in use stays",
      );
    }
    refresh();
  };

  const identityFiles = [certificate, privateKey, trustBundle];
  // Watched before they are read: a change in between is not missed.
  const watchers = [
    await watchFiles({
      list,
      directories: [path, ...directoriesOf([path])],
      clock,
      onChange: () => attempt(loadConfig),
      onRestless: (ms) =>
        refuse(
          `${path} has been written to for ${ms / 1000} s without a pause of ${SETTLE} ms`,
          "the changed resources are read once nobody writes to them; the ones in force stay",
        ),
    }),
    await watchFiles({
      list: () => Promise.resolve(identityFiles),
      directories: directoriesOf(identityFiles),
      clock,
      onChange: reloadCredentials,
    }),
  ];
  const close = async (): Promise<void> => {
    stop.abort(new Error("the sidecar is stopping"));
    cancelAlarm();
    await Promise.all(watchers.map((watcher) => watcher.close()));
  };
  const mayEnd = keepAlive();
  try {
    await loadFirst();
  } catch (thrown) {
    await close();
    throw thrown;
  } finally {
    mayEnd();
  }
  watchExpiry(credentials.value);

  return {
    snapshot: config.snapshot,
    credentials,
    state,
    // Nobody is told: other sidecars know this one by files of their own.
    setReady: () => Promise.resolve(),
    deregister: () => Promise.resolve(),
    close,
  };
}

async function readCredentials({
  certificate,
  privateKey,
  trustBundle,
  clock,
}: FileAgentOptions): Promise<Credentials> {
  const read = async (file: string): Promise<string> => {
    try {
      return await readFile(file, "utf8");
    } catch (thrown) {
      throw new UserError(`${file} cannot be read: ${messageOf(thrown)}`, {
        cause: thrown,
      });
    }
  };
  return loadCredentials(
    {
      certificateChain: await read(certificate),
      privateKey: await readSecret(privateKey, "the private key"),
      trustBundle: await read(trustBundle),
    },
    clock.wall(),
  );
}
