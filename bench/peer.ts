/** What a measurement needs to know of one of the proxies that it compares. */
import type { Command } from "./processes.ts";

/** What costs time on the path of a request; two peers are compared only where both have the same of these on. */
export const FEATURES = {
  mtls: "mutual TLS 1.3 between the two proxies",
  identity: "SPIFFE ID of the other proxy checked, on both ends",
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

export const FEATURE_NAMES: readonly Feature[] = Object.keys(
  FEATURES,
) as Feature[];

/** All but what is named. */
export function featuresWithout(
  ...names: readonly Feature[]
): ReadonlySet<Feature> {
  return new Set(FEATURE_NAMES.filter((feature) => !names.includes(feature)));
}

export const PEER_NAMES = [
  "Wherry",
  "Envoy",
  "HAProxy",
  "nginx",
  "http-proxy",
  "undici",
  "pipe",
] as const;

export type PeerName = (typeof PEER_NAMES)[number];

export type Protocol = "http/1.1" | "h2";

/** What the callers and the server speak: calls, or messages one after the other on connections that stay. */
export type Speech = Protocol | "websocket" | "grpc" | "tcp";

/** Requests that end, and not messages on what stays open. */
export function isCalls(apps: Speech): boolean {
  return apps === "http/1.1" || apps === "h2";
}

/** Whether callers and server speak HTTP/2 in the clear. */
export function overHttp2(apps: Speech): boolean {
  return apps === "h2" || apps === "grpc";
}

export interface Peer {
  readonly name: PeerName;
  readonly version: string;
  readonly features: ReadonlySet<Feature>;
  /** The proxy beside the caller; it listens on `OUTBOUND_PORT`. */
  readonly outbound: Command;
  /** The proxy beside the callee; it listens on `INBOUND_PORT`. */
  readonly inbound: Command;
  /** What tells that the inbound proxy takes traffic, where it has a page for that. */
  readonly readiness?: { readonly port: number; readonly path: string };
}

/** The Host that callers send. */
export const HOST = "callee.bench";
export const OUTBOUND_PORT = 8201;
export const INBOUND_PORT = 8202;
export const SERVER_PORT = 8209;
export const OTLP_PORT = 8208;

/** What makes a peer possible, or why it is not: a person installs what is missing. */
export type Found =
  | { readonly kind: "peer"; readonly peer: Peer }
  | { readonly kind: "missing"; readonly name: PeerName; readonly why: string };

/** What a scenario asks of a pair of proxies. */
export interface Setup {
  readonly apps: Speech;
  /** What the proxies speak with each other, where a peer has the choice. */
  readonly link: Protocol;
  /** Percent of requests traced. */
  readonly tracing: number;
  /** Worker threads of each proxy. */
  readonly workers: number;
  /** Connections that one address has to be allowed; undefined: as many as it comes with. */
  readonly connections?: number;
  /** The inbound proxy verifies the token that callers bring. */
  readonly token?: boolean;
}

export interface PeerSettings extends Setup {
  /** A folder of its own for configuration. */
  readonly directory: string;
  /** The cores to which proxies are pinned, as taskset has them. */
  readonly cores: string | undefined;
  readonly certificates: Certificates;
  /** The built package of Wherry to measure. */
  readonly dist: string;
}

/** Files in PEM: the caller's and the callee's certificate chains and keys, and the root. */
export interface Certificates {
  readonly root: string;
  readonly caller: KeyPair;
  readonly callee: KeyPair;
}

export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
  readonly id: string;
}

/** What only one of the two has on: with any, their figures are no comparison. */
export function differences(
  a: ReadonlySet<Feature>,
  b: ReadonlySet<Feature>,
): Feature[] {
  return FEATURE_NAMES.filter((feature) => a.has(feature) !== b.has(feature));
}

export function pinnedTo(cores: string | undefined): { cores?: string } {
  return cores === undefined ? {} : { cores };
}
