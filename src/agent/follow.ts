/** Follows the control plane for as long as the sidecar runs: one connection under one certificate, and the next one when it ends. */
import type { Client } from "@grpc/grpc-js";
import { equalJitter } from "../core/backoff.ts";
import { wait, type Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { PacedWork } from "../core/paced-work.ts";
import type { Bytes } from "../core/units.ts";
import { waitFor, type Watch } from "../core/watch.ts";
import type { Credentials } from "../identity/credentials.ts";
import type { Proof, Revoked } from "../identity/revoked.ts";
import type { ObservedCall, OutsideCall } from "../push/messages.ts";
import type { AgentStatus } from "./agent-status.ts";
import { openClient } from "./connection.ts";
import { endWithTrust, type Proven } from "./connections/end-with-trust.ts";
import type { MeshInterest } from "./interest/mesh-interest.ts";
import type { MeshConfig } from "./mesh-config.ts";
import type { Registration } from "./registration.ts";
import type { Observations } from "./observed/observations.ts";
import type { Reports } from "./reports.ts";
import {
  MOST_UNREAD,
  runStream,
  type StreamEnd,
  type StreamOptions,
} from "./stream.ts";

export interface FollowOptions {
  /** "HOST:PORT" of the control plane. */
  readonly controlPlane: string;
  readonly credentials: Watch<Credentials | undefined>;
  /** One end does not take the other's certificate. */
  readonly onRefused: () => void;
  /** What nobody accepts any more, the control plane's own certificates among it. */
  readonly revoked: Watch<Revoked>;
  /** Roots have come over the stream. */
  readonly onTrust: StreamOptions["onTrust"];
  readonly config: MeshConfig;
  /** What to ask of the mesh; undefined: everything in scope. */
  readonly interest: MeshInterest | undefined;
  readonly registration: Registration;
  readonly reports: Reports;
  readonly observations: Observations<ObservedCall>;
  readonly outside: Observations<OutsideCall>;
  readonly status: AgentStatus;
  readonly maxConfigBytes: Bytes;
  /** What comes is read and put in force at its pace. */
  readonly work: PacedWork;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Milliseconds between connections: a control plane that is back is found within 2 s, and not by all at once. */
const RECONNECT = { base: 250, max: 2000 } as const;
/** The same after one that sent what no control plane sends: each of them costs a handshake, and what it sends. */
const RECONNECT_MAD = { base: 1000, max: 30_000 } as const;
/** Bytes of a message. A control plane's largest has one resource, which its API bounds by 2 MiB, or all names that are gone. */
export const LONGEST_MESSAGE: Bytes = MOST_UNREAD / 2;
/** Milliseconds. A stream that ended sooner has not proved that the control plane is well. */
const SETTLED = 5000;
/** The same of one that ended for what came: longer than it takes to find out, and a madness with such pauses costs little. */
const IN_ORDER = 1000;

/** How a connection ended. */
interface End extends StreamEnd {
  /** Monotonic milliseconds; undefined where the control plane never answered. */
  readonly openedAt: number | undefined;
  readonly renewed: boolean;
}

/** Never resolves; rejects when the signal aborts. */
export async function followControlPlane(
  options: FollowOptions,
): Promise<never> {
  const { credentials, clock, signal } = options;
  let inARow = 0;
  for (let attempt = 1; ; attempt += 1) {
    const present = await waitFor(
      credentials,
      (value) => value !== undefined,
      signal,
    );
    if (present === undefined) continue;
    const end = await connectOnce(options, present);
    const { reason, openedAt, renewed, mad } = end;
    const lasted = openedAt === undefined ? 0 : clock.now() - openedAt;
    inARow = !mad ? 0 : lasted >= IN_ORDER ? 1 : inARow + 1;
    if (lasted >= SETTLED) attempt = 1;
    if (renewed) continue;
    reportEnd(options, reason);
    const pause = mad
      ? equalJitter(RECONNECT_MAD, inARow, clock)
      : equalJitter(RECONNECT, attempt, clock);
    await wait(clock, pause, signal);
  }
}

/** A connection stands under one certificate: its successor gets a connection of its own. */
async function connectOnce(
  options: FollowOptions,
  credentials: Credentials,
): Promise<End> {
  const { controlPlane, clock, logger } = options;
  const over = new AbortController();
  const proven: Proven = {};
  const leave = endWithTrust(options, credentials, proven, over);
  let openedAt: number | undefined;
  const signal = AbortSignal.any([over.signal, options.signal]);
  const { reason, mad } = await stream(options, credentials, signal, {
    onOpen() {
      openedAt = clock.now();
      logger.info({ controlPlane }, "connected to the control plane");
    },
    onProven(by) {
      proven.by = by;
    },
  });
  leave();
  const renewed = over.signal.aborted;
  options.interest?.detach(renewed);
  // What belongs to this connection ends with it.
  over.abort(new Error(reason));
  return { reason, mad, openedAt, renewed };
}

/** Resolves with what ended it. */
async function stream(
  options: FollowOptions,
  credentials: Credentials,
  signal: AbortSignal,
  told: {
    readonly onOpen: () => void;
    readonly onProven: (proof: Proof) => void;
  },
): Promise<StreamEnd> {
  const { config, interest, registration, status, maxConfigBytes, clock } =
    options;
  const { onRefused, revoked } = options;
  let client: Client | undefined;
  let flood: string | undefined;
  try {
    const self = await config.become(credentials);
    const opened = openClient({
      address: options.controlPlane,
      trustBundle: credentials.trustBundle,
      credentials,
      clock,
      work: options.work,
      revoked: () => revoked.value,
      onProven: told.onProven,
      onUntimely: onRefused,
      onFlood: (reason) => {
        flood = reason;
      },
      maxMessageBytes: Math.min(maxConfigBytes + 65_536, LONGEST_MESSAGE),
    });
    client = opened;
    const end = await runStream({
      client: opened,
      node: config.node(self, credentials.bundle?.serial),
      held: config.held,
      subscribe:
        interest === undefined ? undefined : (send) => interest.attach(send),
      maxConfigBytes,
      work: options.work,
      clock,
      signal,
      onOpen: () => {
        told.onOpen();
        interest?.connected();
        status.update({ connected: true, streamError: undefined });
        registration.connected(opened, signal);
        options.reports.connected(opened, signal);
        options.observations.connected(opened, signal);
        options.outside.connected(opened, signal);
      },
      onPush: (revision, received) => config.push(self, revision, received),
      onTrust: options.onTrust,
      onRefused,
      onUnusable: (revision, reason) => config.unusable(reason, revision),
    });
    return flood === undefined ? end : { reason: flood, mad: true };
  } catch (thrown) {
    return { reason: messageOf(thrown), mad: false };
  } finally {
    client?.close();
    status.update({ connected: false });
  }
}

function reportEnd(options: FollowOptions, reason: string): void {
  const { controlPlane, status, logger, signal } = options;
  if (status.progress.streamError !== reason && !signal.aborted)
    logger.warn(
      { controlPlane, reason },
      "no connection to the control plane; serving the config that is in force",
    );
  status.update({ streamError: reason });
}
