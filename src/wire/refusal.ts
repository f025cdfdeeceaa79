/** What the codecs refuse by themselves, and the status of each: the only statuses that they ever make up (law 9). */
import type { Code } from "../mesh/reasons.ts";

interface Refusal {
  readonly status: number;
  readonly code: Code;
  /** The connection ends without a word. */
  readonly silent?: true;
}

export type RefusalKind =
  | "grammar"
  | "foreign"
  | "stalled"
  | "line"
  | "expectation"
  | "head"
  | "coding"
  | "method"
  | "version"
  | "webSocketVersion"
  | "webSocketIgnored"
  | "flood";

export const REFUSALS: Readonly<Record<RefusalKind, Refusal>> = {
  /** Not HTTP, or HTTP that two parsers could read differently. */
  grammar: { status: 400, code: "BAD_REQUEST" },
  /**
   * Neither the method nor the version is one of HTTP/1: its sender would take our response for something else. A failed
   * preface of HTTP/2 looks so, which ends the connection (RFC 9113 3.4).
   */
  foreign: { status: 400, code: "BAD_REQUEST", silent: true },
  /** The head did not come to its end in time (RFC 9110 15.5.9). */
  stalled: { status: 408, code: "REQUEST_STALLED" },
  /** The request line is over its limit (RFC 9112 3). */
  line: { status: 414, code: "HEADERS_TOO_LARGE" },
  /** An expectation other than 100-continue (RFC 9110 10.1.1). */
  expectation: {
    status: 417,
    code: "EXPECTATION_FAILED",
  },
  /** The head is over its limit, in bytes or in lines (RFC 6585 5). */
  head: {
    status: 431,
    code: "HEADERS_TOO_LARGE",
  },
  /** A transfer coding beside chunked (RFC 9112 6.1). */
  coding: { status: 501, code: "UNSUPPORTED" },
  /** A method that nobody registered (RFC 9110 9.1). */
  method: { status: 501, code: "UNSUPPORTED" },
  /** A version that is neither 1.1 nor 1.0. */
  version: {
    status: 505,
    code: "UNSUPPORTED",
  },
  /** A version of WebSocket that is not 13 (RFC 6455 4.4). */
  webSocketVersion: { status: 426, code: "UNSUPPORTED" },
  /** The endpoint took a handshake for an ordinary request, which an extended CONNECT cannot be told. */
  webSocketIgnored: { status: 501, code: "UNSUPPORTED" },
  /** More than a source may send in a second. */
  flood: { status: 503, code: "OVERLOADED" },
};
