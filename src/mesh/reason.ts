/** What there is to say of a reason: a row of `reasons.ts`. */
import type { OutcomeKind, Source } from "./codes.ts";
import type { GrpcStatusName } from "./grpc-status.ts";

export interface Reason {
  /** A clause that says what happened. */
  readonly text: string;
  /** A sentence that says what the reader can do. */
  readonly hint: string;
  readonly response: {
    /** HTTP status, where no response has begun. */
    readonly status: number;
    /** grpc-status for a caller that speaks gRPC (grpc/doc/statuscodes.md, http-grpc-status-mapping.md). */
    readonly grpc: GrpcStatusName;
    /** Whether `Retry-After` is sent. */
    readonly retryAfter: boolean;
  };
  readonly fault: Source;
  /**
   * How a stream of HTTP/2 is broken off for it (RFC 9113 7), where its response has begun. INTERNAL_ERROR and PROTOCOL_ERROR are held
   * against the instance; CANCEL is not: the proxy or the caller wanted the end.
   */
  readonly reset: "CANCEL" | "PROTOCOL_ERROR" | "INTERNAL_ERROR";
  /** What an attempt that ended so counts as. */
  readonly outcome: {
    /** It failed in this proxy, before its response began. */
    readonly own: OutcomeKind;
    /** It failed in this proxy, after its response began: "cut-short" where the row has nothing else. */
    readonly begun?: OutcomeKind;
    /** The peer's sidecar gave this as the reason of its response. */
    readonly peer: OutcomeKind;
  };
}
