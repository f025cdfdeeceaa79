/**
 * Which trouble a request is given on purpose: each kind by a draw of its own, none after the fault's end (trap 19).
 *
 * The end is judged by the proxy's own clock at each request, so that a control plane that is gone prolongs nothing.
 */
import { parseTimestamp } from "../core/clock.ts";
import type { WallMs } from "../core/units.ts";
import { GRPC_STATUSES, grpcOfHttp } from "../mesh/grpc-status.ts";
import type {
  FaultAbort,
  FaultInjectionSpec,
} from "../resources/fault-injection/spec.ts";
import { LONGEST_FAULT } from "../resources/fault-injection/check.ts";

/** Which requests; `why` says what in a request that it refuses is not as asked. */
export interface RequestTest<R> {
  (request: R): boolean;
  readonly why?: (request: R) => string;
}

export interface Fault<R> {
  /** "NAMESPACE/NAME" of the FaultInjection. */
  readonly policy: string;
  /** Wall milliseconds. */
  readonly expiresAt: WallMs;
  /** Absent: every request. */
  readonly matches?: RequestTest<R>;
  readonly delay: Chance<number> | undefined;
  readonly abort: Chance<AbortStatus> | undefined;
  readonly reset: Chance<true> | undefined;
  readonly bandwidth: Chance<number> | undefined;
}

/** `value` befalls a share of the requests, in [0, 1]. */
export interface Chance<T> {
  readonly share: number;
  readonly value: T;
}

/** What callers of each protocol get. */
export interface AbortStatus {
  readonly status: number;
  readonly grpc: number;
}

/** What one request is given; at least one of these. */
export interface Injection {
  readonly policy: string;
  /** Milliseconds; 0 is none. */
  readonly delay: number;
  readonly abort: AbortStatus | undefined;
  readonly reset: boolean;
  /** Bytes of the response's body a second; 0 is without limit. */
  readonly bandwidth: number;
}

/** A proxy's clock and the control plane's may differ by so much, in milliseconds. */
const SKEW = 300_000;

export function compileFault<R>(
  spec: FaultInjectionSpec,
  options: {
    readonly policy: string;
    readonly milliseconds: (text: string) => number;
    readonly matcher: (
      matches: NonNullable<FaultInjectionSpec["matches"]>,
    ) => RequestTest<R>;
  },
): Fault<R> {
  const { delay, abort, reset, bandwidth } = spec;
  return {
    policy: options.policy,
    expiresAt: parseTimestamp(spec.expiresAt),
    ...(spec.matches === undefined
      ? {}
      : { matches: options.matcher(spec.matches) }),
    delay: chance(delay, (each) => options.milliseconds(each.fixedDelay)),
    abort: chance(abort, statusOf),
    reset: chance(reset, () => true as const),
    bandwidth: chance(bandwidth, (each) => each.kibibytesPerSecond * 1024),
  };
}

function chance<T, V>(
  block: (T & { readonly percentage?: number }) | undefined,
  value: (block: T) => V,
): Chance<V> | undefined {
  // Left out, the percentage is 0: a fault is nobody's silent default (trap 19).
  const share = (block?.percentage ?? 0) / 100;
  return block === undefined || share === 0
    ? undefined
    : { share, value: value(block) };
}

/** What a caller of the other protocol would see of it (grpc/doc/http-grpc-status-mapping.md; grpc-gateway's table the other way). */
function statusOf({ httpStatus, grpcStatus }: FaultAbort): AbortStatus {
  if (grpcStatus !== undefined) {
    const grpc = GRPC_STATUSES[grpcStatus];
    return { status: HTTP_OF_GRPC.get(grpc) ?? UNKNOWN_HTTP, grpc };
  }
  const status = httpStatus ?? UNKNOWN_HTTP;
  return { status, grpc: grpcOfHttp(status) };
}

const UNKNOWN_HTTP = 500;

const HTTP_OF_GRPC: ReadonlyMap<number, number> = new Map([
  [GRPC_STATUSES.CANCELLED, 499],
  [GRPC_STATUSES.INVALID_ARGUMENT, 400],
  [GRPC_STATUSES.DEADLINE_EXCEEDED, 504],
  [GRPC_STATUSES.NOT_FOUND, 404],
  [GRPC_STATUSES.ALREADY_EXISTS, 409],
  [GRPC_STATUSES.PERMISSION_DENIED, 403],
  [GRPC_STATUSES.RESOURCE_EXHAUSTED, 429],
  [GRPC_STATUSES.FAILED_PRECONDITION, 400],
  [GRPC_STATUSES.ABORTED, 409],
  [GRPC_STATUSES.OUT_OF_RANGE, 400],
  [GRPC_STATUSES.UNIMPLEMENTED, 501],
  [GRPC_STATUSES.UNAVAILABLE, 503],
  [GRPC_STATUSES.UNAUTHENTICATED, 401],
]);

/** It has not ended, and is not so far from its end that nobody can have meant it. */
export function isInForce(expiresAt: WallMs, wall: WallMs): boolean {
  const left = expiresAt - wall;
  return left > 0 && left <= LONGEST_FAULT + SKEW;
}

/** Why the request is spared by the fault; undefined where the fault is for it. */
export function passesBy<R>(
  { expiresAt, matches }: Fault<R>,
  request: R,
  wall: WallMs,
): "over" | "unmatched" | undefined {
  if (!isInForce(expiresAt, wall)) return "over";
  return matches === undefined || matches(request) ? undefined : "unmatched";
}

/**
 * What befalls the request: of the faults in force that are for it the first, which is the oldest. Delay, abort, reset and bandwidth are
 * drawn independently. Undefined where nothing does.
 */
export function drawFault<R>(
  faults: readonly Fault<R>[],
  request: R,
  wall: WallMs,
  random: () => number,
): Injection | undefined {
  for (const fault of faults) {
    if (passesBy(fault, request, wall) !== undefined) continue;
    const { delay, abort, reset, bandwidth } = fault;
    const drawn = {
      policy: fault.policy,
      delay: draw(delay, random) ?? 0,
      abort: draw(abort, random),
      reset: draw(reset, random) ?? false,
      bandwidth: draw(bandwidth, random) ?? 0,
    };
    return drawn.delay > 0 ||
      drawn.abort !== undefined ||
      drawn.reset ||
      drawn.bandwidth > 0
      ? drawn
      : undefined;
  }
  return undefined;
}

function draw<T>(
  chance: Chance<T> | undefined,
  random: () => number,
): T | undefined {
  return chance !== undefined && random() < chance.share
    ? chance.value
    : undefined;
}
