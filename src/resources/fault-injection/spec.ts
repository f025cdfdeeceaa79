/** FaultInjection as it is written: trouble on purpose in calls to a Service, for chosen callers, until it expires. */
import type { GrpcStatusName } from "../../mesh/grpc-status.ts";
import { selects, type Resource } from "../envelope.ts";
import type { HTTPRouteMatch } from "../http-route/spec.ts";
import type { TargetRef } from "../traffic-policy/settings.ts";

export type FaultInjectionResource = Resource<FaultInjectionSpec>;

export interface FaultInjectionSpec {
  /** Services of its own namespace, or ports of them. */
  readonly targetRefs: readonly TargetRef[];
  /** Any of these callers; absent: every caller. */
  readonly from?: readonly FaultCaller[];
  /** Any of these; absent: every request. */
  readonly matches?: readonly HTTPRouteMatch[];
  readonly delay?: {
    readonly fixedDelay: string;
    readonly percentage?: number;
  };
  readonly abort?: FaultAbort;
  /** The exchange is broken off without a response. */
  readonly reset?: { readonly percentage?: number };
  /** The body of the response comes no faster. */
  readonly bandwidth?: {
    readonly kibibytesPerSecond: number;
    readonly percentage?: number;
  };
  /** RFC 3339; at most 24 hours ahead. */
  readonly expiresAt: string;
}

/** All of these. The labels are those that the caller's certificate binds. */
export interface FaultCaller {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** One of the two statuses; callers of the other protocol get the one that maps to it. */
export interface FaultAbort {
  readonly httpStatus?: number;
  readonly grpcStatus?: GrpcStatusName;
  readonly percentage?: number;
}

/** The caller, as its certificate binds it (trap 16), is one of those that it is for. */
export function isFaultCaller(
  { from }: FaultInjectionSpec,
  caller: {
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  },
): boolean {
  return (
    from === undefined ||
    from.some(
      ({ namespace, labels }) =>
        (namespace === undefined || namespace === caller.namespace) &&
        (labels === undefined || selects(labels, caller.labels)),
    )
  );
}

/** "delay 2s 10 %, abort 503 1 %", for people. */
export function describeFault(spec: FaultInjectionSpec): string {
  const { delay, abort, reset, bandwidth } = spec;
  const parts: readonly (readonly [
    string,
    { readonly percentage?: number } | undefined,
  ])[] = [
    [`delay ${delay?.fixedDelay ?? ""}`, delay],
    [`abort ${abort?.httpStatus ?? abort?.grpcStatus ?? ""}`, abort],
    ["reset", reset],
    [`bandwidth ${bandwidth?.kibibytesPerSecond ?? ""} KiB/s`, bandwidth],
  ];
  return parts
    .flatMap(([text, block]) =>
      block === undefined ? [] : [`${text} ${block.percentage ?? 0} %`],
    )
    .join(", ");
}
