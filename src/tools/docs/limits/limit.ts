/** One limit as the reference shows it, and how it says where the limit is seen when it acts. */
import type { Code } from "../../../mesh/reasons.ts";
import type { SidecarLimits } from "../../../proxy/downstream/limits.ts";
import type { Http1Limit, Http1Limits } from "../../../wire/http1/limits.ts";
import type { Http2Limit, Http2Limits } from "../../../wire/http2/limits.ts";

/** A field of the limits in the code. A test asks for a row of each. */
export type LimitField =
  | keyof SidecarLimits
  | `http1.${keyof Http1Limits}`
  | `http2.${keyof Http2Limits}`;

export interface Limit {
  readonly name: string;
  /** In words, made of the constants themselves. */
  readonly default: string;
  /** What the default is made of. */
  readonly fields?: readonly LimitField[];
  /** The option or field that changes it, or what it follows from; absent: fixed. */
  readonly setBy?: string;
  readonly beyond: string;
  /** Reasons of the proxy, or of the API. */
  readonly reasons?: readonly string[];
  /** The metric, log line or page on which it is seen. */
  readonly seen?: readonly string[];
}

/** Typed, so that a reason which is gone does not compile. */
export function reasons(...codes: readonly Code[]): readonly string[] {
  return codes;
}

/** Connections and messages that are refused before there is a request. */
export function refused(reason: string): string {
  return `wherry_refusals_total{reason="${reason}"}`;
}

export function acted(limit: Http1Limit | Http2Limit): string {
  return `wherry_limits_total{limit="${limit}"}`;
}
