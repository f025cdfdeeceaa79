/** The names in which the sides of the mesh tell each other why a call failed, and what became of an attempt. */

/** Whose fault a failure is: the caller's side, the upstream side, or this proxy's own decision. */
export type Source = "downstream" | "upstream" | "proxy";

/** What became of an attempt. `policy/outcome.ts` says where each counts. */
export type OutcomeKind =
  /** 1xx to 4xx by the application, but 429; a gRPC status that is the caller's affair. */
  | "answered"
  /** No connection, no handshake, or another identity than expected. */
  | "connect-failure"
  /** This machine had nothing to connect with: nothing was sent, and nothing is known of the endpoint. */
  | "machine-failure"
  /** This machine broke the connection off after something was written. */
  | "machine-reset"
  /** The peer's sidecar could not connect to its application. */
  | "application-unreachable"
  /** Provably unprocessed: refused stream, GOAWAY below the stream, a connection that died before a request byte was written. */
  | "unprocessed"
  /** There was nobody to send it to. */
  | "no-endpoint"
  /** This proxy's own limit or breaker: no attempt was made. */
  | "not-attempted"
  /** Written, then reset or closed before any response byte; or the application died over it. */
  | "reset"
  /** Reset after the response began. */
  | "cut-short"
  | "attempt-timeout"
  /** A 5xx by the application, but 503 with Retry-After. */
  | "server-error"
  /** 429, or 503 with Retry-After, by the application. */
  | "throttled"
  /** The peer's sidecar is over its limits or on its way out, and has passed nothing on. */
  | "shed"
  /** The peer's sidecar said no: policy, destination, fault, deadline, grammar. */
  | "peer-refusal"
  /** A gRPC status that says that the server failed. */
  | "grpc-failure"
  /** The caller went away, or its deadline passed. */
  | "cancelled";
