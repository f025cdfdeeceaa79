/** The rate limits of this sidecar's own workload: the buckets, over snapshots and threads, and the words of a refusal. */
import { randomBytes } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import type { SpiffeUri } from "../../core/units.ts";
import type { VerifiedClaims } from "../../identity/jwt/claims.ts";
import { MeshError } from "../../mesh/errors.ts";
import {
  rateTable,
  rateTableMemory,
  type RateTable,
} from "../../core/shared/rate-table.ts";
import {
  takeFrom,
  type Overdrawn,
  type RateLimit,
} from "../../policy/rate-limit.ts";
import type { RoutedRequest } from "../../policy/router/candidate.ts";
import type { Snapshot } from "../../policy/snapshot.ts";

export interface Limiter {
  /** Counts the request; the refusal where it is over a limit. */
  take(
    limits: readonly RateLimit<RoutedRequest>[],
    peer: SpiffeUri | undefined,
    request: RoutedRequest | undefined,
    claims?: VerifiedClaims,
  ): MeshError | undefined;
  /** Forgets the limits that the snapshot does not have. */
  apply(snapshot: Snapshot): void;
}

/** Without `shared` the buckets are this thread's own, made when the first limit is there. */
export function makeLimiter(clock: Clock, shared?: SharedArrayBuffer): Limiter {
  let table: RateTable | undefined;
  const buckets = (): RateTable =>
    (table ??= rateTable(shared ?? rateTableMemory(randomBytes(8))));
  return {
    take(limits, peer, request, claims) {
      const over = takeFrom(
        limits,
        peer,
        request,
        buckets(),
        clock.now(),
        claims,
      );
      return over === undefined ? undefined : refusal(over);
    },
    apply(snapshot) {
      table?.retain(
        new Set(
          snapshot.inbound.ports.flatMap(({ protection }) =>
            (protection.limits ?? []).map(({ id }) => id),
          ),
        ),
      );
    },
  };
}

/**
 * The fields are those of draft-ietf-httpapi-ratelimit-headers-06, the last version with a field for each number, which is what clients
 * and proxies read today; later versions put them into one structured field and still change its shape.
 */
function refusal({ limit, wait }: Overdrawn<RoutedRequest>): MeshError {
  const { requests, interval, rate } = limit;
  const window = Math.max(1, Math.round(interval / 1000));
  return new MeshError(
    "RATE_LIMITED",
    `${limit.name} of ${limit.policy} allows ${requests} requests in ${interval} ms`,
    {
      source: "proxy",
      unprocessed: true,
      policy: limit.policy,
      answer: {
        retryAfter: wait,
        fields: [
          ["ratelimit-limit", String(requests)],
          ["ratelimit-policy", `${requests};w=${window};burst=${rate.burst}`],
          ["ratelimit-remaining", "0"],
          ["ratelimit-reset", String(Math.max(1, Math.ceil(wait / 1000)))],
        ],
      },
    },
  );
}
