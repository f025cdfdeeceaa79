/** Destinations outside the mesh: HTTP by Host, tunnels by their target, captured bytes by their original destination. */
import { formatHostPort } from "../../core/text/host-port.ts";
import { compileRetry, isRepeatable, retryBudget } from "../../policy/retry.ts";
import type { ReadRequest } from "../../policy/path.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import { TRAFFIC_DEFAULTS } from "../../resources/traffic-policy/settings.ts";
import type { ServerStream } from "../../wire/exchange.ts";
import type { RoutePlan } from "../exchange/route-plan.ts";
import { DirectPlan } from "./direct-plan.ts";
import type { PlainProtocol } from "./pool/dial.ts";
import { poolSettingsOf } from "./cluster/places.ts";
import type { Pool } from "./pool/pool.ts";
import type { Pools } from "./pool/pools.ts";

export interface Passthrough {
  http(
    snapshot: Snapshot,
    where: { readonly host: string; readonly port: number },
    read: Extract<ReadRequest, { ok: true }>,
    stream: ServerStream,
  ): RoutePlan;
  tunnel(snapshot: Snapshot, host: string, port: number): RoutePlan;
}

/** The name under which all of it is counted. */
const OUTSIDE = "outside";

export function makePassthrough(workers: number, pools: Pools): Passthrough {
  // One budget for all of it: a storm towards the outside is a storm, wherever each of its calls goes.
  const budget = retryBudget(TRAFFIC_DEFAULTS.retryConstraint, workers);
  const poolOf = (
    snapshot: Snapshot,
    host: string,
    port: number,
    protocol: PlainProtocol,
  ): Pool =>
    pools.find(
      { kind: "plain", address: host, port, protocol },
      {
        ...poolSettingsOf(TRAFFIC_DEFAULTS),
        connectTimeout: snapshot.mesh.defaults.timeouts.connect,
      },
    );
  return {
    http(snapshot, { host, port }, { facts, target }, stream) {
      const { defaults } = snapshot.mesh;
      return new DirectPlan({
        destination: OUTSIDE,
        path: facts.path,
        target,
        authority: stream.head.authority,
        // Where the address was dialled by the application, the proxy that it means is there, and not here (RFC 9112 3.2.2).
        absoluteForm:
          stream.head.absoluteForm &&
          stream.connection.originalDestination !== undefined,
        // What the caller speaks in plaintext is what it expects of the server.
        pool: poolOf(snapshot, host, port, stream.connection.protocol),
        address: formatHostPort(host, port),
        streamIdle: defaults.timeouts.streamIdle,
        retry: compileRetry(undefined, defaults.retry),
        budget,
        repeatable: isRepeatable(facts),
        inside: true,
      });
    },
    tunnel(snapshot, host, port) {
      return new DirectPlan({
        destination: OUTSIDE,
        path: "",
        target: "",
        authority: formatHostPort(host, port),
        pool: poolOf(snapshot, host, port, "tcp"),
        address: formatHostPort(host, port),
        streamIdle: TRAFFIC_DEFAULTS.connectionPool.tcp.idleTimeout,
        retry: compileRetry(undefined, snapshot.mesh.defaults.retry),
        budget,
        repeatable: false,
        inside: true,
      });
    },
  };
}
