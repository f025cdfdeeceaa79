/** What a sidecar is set to: plain data that travels whole, from the command line through the sidecar into each worker's thread. */
import type { LimitOptions } from "../proxy/downstream/limits.ts";
import {
  DEFAULT_PORTS,
  type PublishedPort,
  type SidecarPorts,
  type UpstreamPort,
} from "../proxy/downstream/ports.ts";
import type { AccessLogMode } from "../telemetry/access-log.ts";
import type { Protocol } from "../wire/exchange.ts";

export type Scope = "used" | "all";

/** The resolver for names of the mesh. */
export interface DnsSettings {
  readonly host: string;
  readonly port: number;
  /** Servers for the rest; absent: those of /etc/resolv.conf. */
  readonly servers?: readonly {
    readonly host: string;
    readonly port: number;
  }[];
  /** Keeps which address stands for which name; absent: a restart knows no more than what follows from the names. */
  readonly file?: string;
}

export interface SidecarSettings {
  /** Workers that carry the traffic, each in a thread but the first. */
  readonly concurrency: number;
  /** Whether it holds all that it may use, or what it uses: then it asks for the rest when that is called. */
  readonly scope: Scope;
  readonly ports: SidecarPorts;
  /** For the link, captured and published connections: "::" is every address of both families. */
  readonly host: string;
  /** For metrics and readiness. */
  readonly metricsHost: string;
  /** Ports for callers without a sidecar, under PeerAuthentication. */
  readonly publish: readonly PublishedPort[];
  readonly upstream: readonly UpstreamPort[];
  /** Absent: names are not resolved here. */
  readonly dns?: DnsSettings;
  /** The application's ports for the probe; those of its Services where absent. */
  readonly appPorts?: readonly number[];
  readonly appAddress: string;
  readonly accessLog: AccessLogMode;
  /** The file that the access log is appended to; standard output where absent. */
  readonly accessLogFile?: string;
  readonly linkProtocol: Protocol;
  /** What all callers together may cost the process. */
  readonly limits: LimitOptions;
  /** CIDR ranges of callers without an identity whose Forwarded and X-Forwarded-* fields are believed (`forwarded.ts`). */
  readonly trustedProxies: readonly string[];
  /** Milliseconds that requests in flight may take at shutdown. */
  readonly drainTimeout: number;
}

export const DEFAULT_SETTINGS: SidecarSettings = {
  concurrency: 1,
  scope: "used",
  ports: DEFAULT_PORTS,
  host: "::",
  metricsHost: "::",
  publish: [],
  upstream: [],
  appAddress: "127.0.0.1",
  accessLog: "errors",
  linkProtocol: "h2",
  limits: {},
  trustedProxies: [],
  drainTimeout: 30_000,
};
