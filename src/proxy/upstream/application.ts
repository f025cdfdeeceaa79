/** The local application: its pools on loopback, in HTTP/1.1, HTTP/2 or bytes as its port is declared. */
import type { Clock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import type { ReadRequest } from "../../policy/path.ts";
import {
  isRepeatable,
  retryBudget,
  type RetryPolicy,
} from "../../policy/retry.ts";
import type { InboundPort, Snapshot } from "../../policy/snapshot.ts";
import { TRAFFIC_DEFAULTS } from "../../resources/traffic-policy.ts";
import type { ServerStream } from "../../wire/exchange.ts";
import type { Way } from "../way.ts";
import { DirectWay } from "./direct-way.ts";
import { plainProtocolOf, poolSettingsOf } from "./endpoints.ts";
import type { Pools } from "./pools.ts";

export interface Application {
  http(
    snapshot: Snapshot,
    port: InboundPort,
    read: Extract<ReadRequest, { ok: true }>,
    stream: ServerStream,
  ): Way;
  tunnel(port: InboundPort, stream: ServerStream): Way;
}

export interface ApplicationOptions {
  readonly clock: Clock;
  readonly pools: Pools;
  /** Where the application listens: "127.0.0.1", unless it binds another address alone. */
  readonly address: string;
}

/**
 * A stale keep-alive connection is this hop's own affair and is repeated here, at once; everything else is for the caller's sidecar
 * to judge, which knows other instances.
 */
const RETRY: RetryPolicy = {
  attempts: 1,
  on: new Set(["reset-before-request", "reset-reused-connection"]),
  codes: new Set(),
  backoff: { minimum: 0, base: 0, max: 0 },
};

const SETTINGS = poolSettingsOf(TRAFFIC_DEFAULTS);

export function makeApplication(options: ApplicationOptions): Application {
  const { clock, pools, address } = options;
  const budget = retryBudget(TRAFFIC_DEFAULTS.retryConstraint);
  const way = (
    port: InboundPort,
    stream: ServerStream,
    rest: {
      readonly protocol: "http/1.1" | "h2" | "tcp";
      readonly path: string;
      readonly target: string;
      readonly streamIdle: number;
      readonly repeatable: boolean;
    },
  ): Way =>
    new DirectWay({
      clock,
      destination: port.key,
      path: rest.path,
      target: rest.target,
      authority: stream.head.authority,
      pool: pools.find(
        {
          kind: "plain",
          address,
          port: port.targetPort,
          protocol: rest.protocol,
        },
        SETTINGS,
      ),
      address: `${address}:${port.targetPort}`,
      streamIdle: rest.streamIdle,
      retry: RETRY,
      budget,
      repeatable: rest.repeatable,
      inside: stream.connection.peer !== undefined,
      connectError: unreachable,
    });
  return {
    http: (snapshot, port, { facts, target }, stream) =>
      way(port, stream, {
        protocol: httpProtocolOf(port),
        path: facts.path,
        target,
        streamIdle: snapshot.mesh.defaults.timeouts.streamIdle,
        repeatable: isRepeatable(facts),
      }),
    tunnel: (port, stream) =>
      way(port, stream, {
        protocol: "tcp",
        path: "",
        target: "",
        streamIdle: TRAFFIC_DEFAULTS.connectionPool.tcp.idleTimeout,
        repeatable: false,
      }),
  };
}

/** HTTP that comes to a port that is declared as bytes goes on as HTTP/1.1, which every such port that speaks HTTP knows. */
function httpProtocolOf(port: InboundPort): "http/1.1" | "h2" {
  return plainProtocolOf(port) === "h2" ? "h2" : "http/1.1";
}

/** To the caller's sidecar: nothing was processed, and another instance may do (model: which outcome counts where). */
function unreachable(error: MeshError): MeshError {
  if (error.code === "STREAM_REFUSED" || error.code === "INTERNAL")
    return error;
  return new MeshError("APPLICATION_UNREACHABLE", error.message, {
    source: "upstream",
    unprocessed: true,
    cause: error,
  });
}
