/** What a measurement needs to know of one of the proxies that it compares. */
import type { Command } from "./processes.ts";

/** What costs time on the path of a request; two peers are compared only where both have the same of these on. */
export const FEATURES = {
  mtls: "mutual TLS 1.3 between the two proxies, identity checked",
  "link-h2": "HTTP/2 between the two proxies",
  authorization: "authorization by the caller's principal",
  retry: "retry policy",
  breaker: "circuit breaker and connection limits",
  outlier: "outlier detection",
  balancer: "load balancer that sees requests in flight",
  "access-log": "JSON access log of every request, to /dev/null",
  tracing: "spans by OTLP, a server and a client span a hop",
  metrics: "metrics by destination and status",
} as const;

export type Feature = keyof typeof FEATURES;

/** Of a peer that has all of them on. */
export const EVERY_FEATURE: ReadonlySet<Feature> = new Set(
  Object.keys(FEATURES) as Feature[],
);

export interface Peer {
  readonly name: string;
  readonly version: string;
  readonly features: ReadonlySet<Feature>;
  /** The proxy beside the caller; it listens on `OUTBOUND_PORT`. */
  readonly outbound: Command;
  /** The proxy beside the callee. */
  readonly inbound: Command;
  /** The Host that callers send. */
  readonly host: string;
}

export const OUTBOUND_PORT = 8201;
export const INBOUND_PORT = 8202;
export const SERVER_PORT = 9000;
export const OTLP_PORT = 4318;

/** What makes a peer possible, or why it is not: a person installs what is missing. */
export type Found =
  | { readonly kind: "peer"; readonly peer: Peer }
  | { readonly kind: "missing"; readonly name: string; readonly why: string };

export interface PeerSettings {
  /** A folder of its own for configuration and certificates. */
  readonly directory: string;
  /** Percent of requests traced. */
  readonly tracing: number;
  /** The core to which proxies are pinned. */
  readonly core: string | undefined;
  readonly certificates: Certificates;
}

/** Files in PEM: the caller's and the callee's certificate chains and keys, and the root. */
export interface Certificates {
  readonly root: string;
  readonly caller: {
    readonly certificate: string;
    readonly key: string;
    readonly id: string;
  };
  readonly callee: {
    readonly certificate: string;
    readonly key: string;
    readonly id: string;
  };
}

/** What only one of the two has on: with any, their figures are no comparison. */
export function differences(a: Peer, b: Peer): Feature[] {
  return (Object.keys(FEATURES) as Feature[]).filter(
    (feature) => a.features.has(feature) !== b.features.has(feature),
  );
}
