/** The agent of a sidecar in a mesh: serves at once from what the disk holds, and follows the control plane in the background for as long as it runs. */
import type { Client } from "@grpc/grpc-js";
import { equalJitter } from "../core/backoff.ts";
import { wait, type Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { waitFor, watchSource } from "../core/watch.ts";
import type { Credentials } from "../identity/credentials.ts";
import type { SelfDescription } from "../policy/snapshot.ts";
import type { Node, Revision } from "../push/messages.ts";
import { NODE, SCHEMA_VERSION } from "../push/names.ts";
import { parseToken } from "../push/token.ts";
import { MESH_DEFAULTS } from "../resources/mesh/schema.ts";
import type { WorkloadSpec } from "../resources/workload/schema.ts";
import type { Agent, AgentState, RefusedConfig, Sharers } from "./agent.ts";
import { startCertificates } from "./certificates.ts";
import { makeConfig, MAX_CONFIG_BYTES } from "./config.ts";
import { openClient } from "./connection.ts";
import { splitAddress, unreadableToken } from "./enrol.ts";
import { makeKeeper, readKept } from "./last-known-good.ts";
import { makeRegistration } from "./registration.ts";
import { describeSelf } from "./self.ts";
import type { ReceivedResources } from "./staging.ts";
import { openStateDirectory } from "./state-directory.ts";
import { runStream } from "./stream.ts";

export interface AgentOptions {
  /** "HOST:PORT" of the control plane's push port. */
  readonly controlPlane: string;
  readonly stateDirectory: string;
  /** Text of an enrolment token; needed until there is a certificate on disk, and again should that expire. */
  readonly token?: string;
  /** Instance name to enrol under; absent: the control plane makes one. */
  readonly name?: string;
  /** What to register, asked for at each registration; absent or undefined: nothing. `ready` is the agent's to set. */
  readonly workload?: () => WorkloadSpec | undefined;
  /** Version of this software, for the control plane to show. */
  readonly version: string;
  /** MAX_CONFIG_BYTES where absent. */
  readonly maxConfigBytes?: number;
  readonly sharers?: Sharers | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Milliseconds between connections: a control plane that is back is found within 2 s, and not by all at once. */
const RECONNECT = { base: 250, max: 2000 } as const;
/** A stream that lived shorter has not proved that the control plane is well. */
const SETTLED = 5000;

/** Resolves when the disk has been read. Throws UserError where the options or the directory cannot be used. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { clock, logger, controlPlane } = options;
  const maxConfigBytes = options.maxConfigBytes ?? MAX_CONFIG_BYTES;
  splitAddress(controlPlane);
  const directory = await openStateDirectory(options.stateDirectory);
  const stop = new AbortController();
  const config = makeConfig(options.sharers);
  const workload = (): WorkloadSpec | undefined => options.workload?.();
  const registration = makeRegistration({ workload, clock, logger });
  const certificates = await startCertificates({
    address: controlPlane,
    token: options.token,
    name: options.name ?? "",
    directory,
    rotateAt: () =>
      (config.snapshot.value?.mesh ?? MESH_DEFAULTS).mtls.rotateAt,
    clock,
    logger,
  });
  // Without a certificate such a token leads nowhere; with one it is not needed, and the mesh goes on (law 8).
  if (
    certificates.latest === undefined &&
    options.token !== undefined &&
    parseToken(options.token) === undefined
  ) {
    await certificates.close();
    throw unreadableToken();
  }

  let source: AgentState["source"] = "none";
  let connected = false;
  let refused: RefusedConfig | undefined;
  let streamError: string | undefined;
  let keepError: string | undefined;
  const state = watchSource<AgentState>({ source, connected });
  const refresh = (): void => {
    const { current } = config;
    const { error, alarm } = certificates.fault.value;
    const { registered, error: registrationError } = registration.state.value;
    const lastError = error ?? streamError ?? registrationError ?? keepError;
    state.set({
      source,
      connected,
      ...(current === undefined
        ? {}
        : { version: current.version, configReceivedAt: current.receivedAt }),
      ...(refused === undefined ? {} : { refused }),
      ...(registered === undefined ? {} : { registered }),
      ...(alarm === undefined ? {} : { certificateAlarm: alarm }),
      ...(lastError === undefined ? {} : { lastError }),
    });
  };
  certificates.fault.subscribe(refresh);
  registration.state.subscribe(refresh);
  const keeper = makeKeeper(directory, options.version, logger, (error) => {
    keepError = error;
    refresh();
  });

  let self: SelfDescription | undefined;

  /** Who we are, by this certificate; and, the first time that is known, the config that the disk holds for us. */
  const become = async (credentials: Credentials): Promise<SelfDescription> => {
    const { ports, locality } = workload() ?? {};
    const next = describeSelf(credentials, {
      ...(ports === undefined ? {} : { ports }),
      ...(locality === undefined ? {} : { locality }),
    });
    const first = self === undefined;
    const changed = JSON.stringify(self) !== JSON.stringify(next);
    self = next;
    const { current } = config;
    if (first) await boot(next);
    else if (changed && current !== undefined)
      report(await config.take(current, next), current.version);
    return next;
  };

  const boot = async (owner: SelfDescription): Promise<void> => {
    const kept = await readKept(directory, owner, options.version);
    if (kept === undefined) return;
    const reason =
      "reason" in kept ? kept.reason : await config.take(kept, owner);
    if (reason === undefined) {
      source = "disk";
      logger.info(
        { revision: config.current?.version.revision },
        "serving the last config that this sidecar had",
      );
    } else {
      streamError = reason;
      logger.error({ reason }, "the config on disk cannot be used");
    }
    refresh();
  };

  const report = (
    reason: string | undefined,
    version: Partial<Revision> | undefined,
  ): void => {
    if (reason === undefined) refused = undefined;
    else {
      const { store, revision, digest } = version ?? {};
      const known =
        store !== undefined && revision !== undefined && digest !== undefined;
      if (refused?.reason !== reason)
        logger.error(
          { revision, reason },
          "a config was refused; the one in force stays",
        );
      refused = {
        reason,
        at: clock.wall(),
        ...(known ? { version: { store, revision, digest } } : {}),
      };
    }
    refresh();
  };

  const onPush = async (
    who: SelfDescription,
    revision: Revision,
    resources: ReceivedResources,
  ): Promise<{ refused?: string }> => {
    const at = clock.wall();
    const reason = await config.push(revision, resources, who, at);
    if (reason !== undefined) {
      report(reason, revision);
      return { refused: reason };
    }
    source = "stream";
    if (config.current !== undefined) keeper.keep(config.current, who);
    report(undefined, undefined);
    return {};
  };

  const nodeOf = ({ namespace, name }: SelfDescription): Node => {
    const { current } = config;
    return {
      id: `${namespace}/${name}`,
      metadata: {
        [NODE.schema]: String(SCHEMA_VERSION),
        [NODE.version]: options.version,
        ...(current === undefined
          ? {}
          : {
              [NODE.store]: current.version.store,
              [NODE.revision]: String(current.version.revision),
              [NODE.digest]: current.version.digest,
              [NODE.receivedAt]: String(current.receivedAt),
            }),
      },
    };
  };

  /** One connection under one certificate. Resolves with what ended it. */
  const connect = async (
    credentials: Credentials,
    signal: AbortSignal,
    onOpen: () => void,
  ): Promise<string> => {
    let client: Client | undefined;
    try {
      const who = await become(credentials);
      const opened = openClient({
        address: controlPlane,
        trustBundle: credentials.trustBundle,
        credentials,
        clock,
        maxMessageBytes: maxConfigBytes + 65_536,
      });
      client = opened;
      return await runStream({
        client: opened,
        node: nodeOf(who),
        held: config.current?.resources ?? new Map(),
        maxConfigBytes,
        clock,
        signal,
        onOpen: () => {
          onOpen();
          connected = true;
          streamError = undefined;
          refresh();
          registration.connected(opened, signal);
        },
        onPush: (revision, resources) => onPush(who, revision, resources),
        onUnusable: (revision, reason) => report(reason, revision),
      });
    } catch (thrown) {
      return messageOf(thrown);
    } finally {
      client?.close();
      connected = false;
      refresh();
    }
  };

  const run = async (): Promise<void> => {
    for (let attempt = 1; ; attempt += 1) {
      const credentials = await waitFor(
        certificates.credentials,
        (value) => value !== undefined,
        stop.signal,
      );
      if (credentials === undefined) continue;
      // A connection stands under one certificate: its successor gets a connection of its own.
      const over = new AbortController();
      const leave = certificates.credentials.subscribe(() =>
        over.abort(new Error("the certificate was renewed")),
      );
      let openedAt: number | undefined;
      const signal = AbortSignal.any([over.signal, stop.signal]);
      const reason = await connect(credentials, signal, () => {
        openedAt = clock.now();
        logger.info({ controlPlane }, "connected to the control plane");
      });
      leave();
      // What belongs to this connection ends with it.
      const renewed = over.signal.aborted;
      over.abort(new Error(reason));
      if (openedAt !== undefined && clock.now() - openedAt >= SETTLED)
        attempt = 1;
      if (renewed) continue;
      if (streamError !== reason && !stop.signal.aborted)
        logger.warn(
          { controlPlane, reason },
          "no connection to the control plane; serving the config that is in force",
        );
      streamError = reason;
      refresh();
      await wait(clock, equalJitter(RECONNECT, attempt, clock), stop.signal);
    }
  };

  if (certificates.latest !== undefined)
    await become(certificates.latest).catch((thrown: unknown) => {
      streamError = messageOf(thrown);
    });
  refresh();
  const running = run().catch((thrown: unknown) => {
    if (!stop.signal.aborted)
      logger.error(
        { reason: messageOf(thrown) },
        "the control plane is not followed any more: a defect",
      );
  });

  return {
    snapshot: config.snapshot,
    credentials: certificates.credentials,
    state,
    setReady: (ready) => registration.setReady(ready),
    deregister: () => registration.deregister(),
    async close() {
      stop.abort(new Error("the sidecar is stopping"));
      await Promise.all([running, registration.close(), certificates.close()]);
      await keeper.close();
    },
  };
}
