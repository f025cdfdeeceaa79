/** The options of `wherry sidecar`, and what their texts mean. */
import { hostname, networkInterfaces } from "node:os";
import type { Command } from "commander";
import { parseDuration } from "../core/duration.ts";
import { UserError } from "../core/errors.ts";
import { DEFAULT_PORTS, type BoundPorts } from "../sidecar/sidecar.ts";
import { DEFAULT_SETTINGS, type SidecarSettings } from "../sidecar/settings.ts";
import type { WorkloadSpec } from "../resources/workload/schema.ts";
import type { AccessLogMode } from "../telemetry/access-log.ts";
import type { Protocol } from "../wire/exchange.ts";
import {
  limitsOf,
  withLimitOptions,
  type LimitCommandOptions,
} from "./limit-options.ts";
import {
  CONFIG_OPTION,
  listOption,
  option,
  otlpEndpointOption,
  pairsOf,
  portOf,
} from "./settings.ts";

export interface SidecarCommandOptions extends LimitCommandOptions {
  readonly controlPlane?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly state: string;
  readonly resources?: string;
  readonly allowShrink?: boolean;
  readonly certificate?: string;
  readonly privateKey?: string;
  readonly trustBundle?: string;
  readonly name?: string;
  readonly label?: readonly string[];
  readonly address?: string;
  readonly appPort?: readonly string[];
  readonly appAddress: string;
  readonly locality?: string;
  readonly weight?: string;
  readonly ttl?: string;
  readonly host: string;
  readonly outboundPort: string;
  readonly inboundPort: string;
  readonly capture: boolean;
  readonly linkPort: string;
  readonly adminPort: string;
  readonly metricsPort: string;
  readonly publish?: readonly string[];
  readonly trustedProxy?: readonly string[];
  readonly upstream?: readonly string[];
  readonly linkProtocol: string;
  readonly concurrency: string;
  readonly accessLog: string;
  readonly accessLogFile?: string;
  readonly otlpEndpoint?: string;
  readonly drainTimeout: string;
  readonly maxConfigBytes?: string;
  readonly logLevel: string;
}

const port = String;
const HERE = "127.0.0.1";

export function withSidecarOptions(command: Command): Command {
  return withLimitOptions(command)
    .option(CONFIG_OPTION, "YAML file with these options by their long names")
    .addOption(
      option(
        "--control-plane <host:port>",
        "where config and certificates come from",
      ),
    )
    .addOption(
      option(
        "--token <text>",
        'enrolment token, from "wherry token create"; needed until there is a certificate in the state directory',
      ),
    )
    .addOption(option("--token-file <file>", "file with that token"))
    .addOption(
      option(
        "--state <directory>",
        "where the last good config, the certificate and the admin port's token are kept",
        ".wherry/sidecar",
      ),
    )
    .addOption(
      option(
        "--resources <path>",
        "without a control plane: resources from a file or folder, read again when they change",
      ),
    )
    .addOption(
      option(
        "--allow-shrink",
        "with --resources: use files at once that hold far fewer resources than before, or none",
      ),
    )
    .addOption(
      option(
        "--certificate <file>",
        "with --resources: PEM certificate chain, leaf first",
      ),
    )
    .addOption(
      option("--private-key <file>", "with --resources: PEM private key"),
    )
    .addOption(
      option(
        "--trust-bundle <file>",
        "with --resources: PEM root certificates",
      ),
    )
    .addOption(
      option(
        "--name <name>",
        "name of this instance; the host's name without it",
      ),
    )
    .addOption(
      listOption(
        "--label <pairs>",
        "with --resources: labels of this instance, like app=web; else the token has them",
      ),
    )
    .addOption(
      option(
        "--address <ip>",
        "the address at which other sidecars reach this one; the host's first without it",
      ),
    )
    .addOption(
      listOption(
        "--app-port <name=port>",
        "a port of the application by its name in the Service, like http=8080",
      ),
    )
    .addOption(
      option(
        "--app-address <ip>",
        "where the application listens",
        DEFAULT_SETTINGS.appAddress,
      ),
    )
    .addOption(
      option("--locality <region/zone/subzone>", "where this instance stands"),
    )
    .addOption(option("--weight <number>", "its share beside other instances"))
    .addOption(
      option(
        "--ttl <duration>",
        "how long it stays registered without a sign of life",
      ),
    )
    .addOption(
      option(
        "--host <ip>",
        "where the link, captured and published connections are taken; :: is every address",
        DEFAULT_SETTINGS.host,
      ),
    )
    .addOption(
      option(
        "--outbound-port <port>",
        "calls of the application; on loopback only",
        port(DEFAULT_PORTS.outbound),
      ),
    )
    .addOption(
      option(
        "--inbound-port <port>",
        "captured calls to the application",
        port(DEFAULT_PORTS.inbound),
      ),
    )
    .option("--no-capture", "leave the port for captured calls closed")
    .addOption(
      option(
        "--link-port <port>",
        "the link between sidecars",
        port(DEFAULT_PORTS.link),
      ),
    )
    .addOption(
      option(
        "--admin-port <port>",
        "administration; on loopback only",
        port(DEFAULT_PORTS.admin),
      ),
    )
    .addOption(
      option(
        "--metrics-port <port>",
        "metrics and readiness",
        port(DEFAULT_PORTS.metrics),
      ),
    )
    .addOption(
      listOption(
        "--publish <port=appport>",
        "a port for callers without a sidecar, under PeerAuthentication",
      ),
    )
    .addOption(
      listOption(
        "--trusted-proxy <ranges>",
        "callers without a certificate (CIDR), like a load balancer, whose Forwarded and X-Forwarded-* fields are passed on; those of others are replaced",
      ),
    )
    .addOption(
      listOption(
        "--upstream <port=service.ns[:port]>",
        "a local port that leads to one service",
      ),
    )
    .addOption(
      option(
        "--link-protocol <protocol>",
        "h2 or http/1.1",
        DEFAULT_SETTINGS.linkProtocol,
      ),
    )
    .addOption(
      option(
        "--concurrency <workers>",
        "threads that carry the traffic: more than one only where one core is too little",
        String(DEFAULT_SETTINGS.concurrency),
      ),
    )
    .addOption(
      option(
        "--access-log <mode>",
        "errors, all or none",
        DEFAULT_SETTINGS.accessLog,
      ),
    )
    .addOption(
      option(
        "--access-log-file <file>",
        "where access log lines go; standard output without it",
      ),
    )
    .addOption(otlpEndpointOption("spans"))
    .addOption(
      option(
        "--drain-timeout <duration>",
        "how long requests under way may take at shutdown",
        "30s",
      ),
    )
    .addOption(
      option(
        "--max-config-bytes <bytes>",
        "a larger config is refused, and the one before kept",
      ),
    )
    .addOption(
      option(
        "--log-level <level>",
        "trace, debug, info, warn, error or silent",
        "info",
      ),
    );
}

/** What the options say, read and checked. Throws UserError. */
export function settingsOf(options: SidecarCommandOptions): SidecarSettings {
  const { host, accessLogFile } = options;
  return {
    concurrency: workersOf("--concurrency", options.concurrency),
    ports: {
      outbound: portOf("--outbound-port", options.outboundPort),
      ...(options.capture
        ? { inbound: portOf("--inbound-port", options.inboundPort) }
        : {}),
      link: portOf("--link-port", options.linkPort),
      admin: portOf("--admin-port", options.adminPort),
      metrics: portOf("--metrics-port", options.metricsPort),
    },
    host,
    metricsHost: host === HERE ? HERE : DEFAULT_SETTINGS.metricsHost,
    publish: (options.publish ?? []).map(publishOf),
    upstream: (options.upstream ?? []).map(upstreamOf),
    ...(options.appPort === undefined
      ? {}
      : { appPorts: Object.values(applicationPorts(options)) }),
    appAddress: options.appAddress,
    accessLog: accessLogOf(options.accessLog),
    ...(accessLogFile === undefined ? {} : { accessLogFile }),
    linkProtocol: linkProtocolOf(options.linkProtocol),
    limits: limitsOf(options),
    trustedProxies: options.trustedProxy ?? [],
    drainTimeout: durationOption("--drain-timeout", options.drainTimeout),
  };
}

/** What to register; nothing where the sidecar serves no port of an application. */
export function workloadOf(
  options: SidecarCommandOptions,
  appPorts: Record<string, number>,
  bound: BoundPorts,
): WorkloadSpec | undefined {
  if (bound.link === undefined) return undefined;
  return {
    address: options.address ?? firstAddress(),
    ...(Object.keys(appPorts).length === 0 ? {} : { ports: appPorts }),
    link: { port: bound.link },
    ...(options.locality === undefined ? {} : { locality: options.locality }),
    ...(options.weight === undefined
      ? {}
      : { weight: countOf("--weight", options.weight) }),
    ...(options.ttl === undefined ? {} : { ttl: options.ttl }),
  };
}

function firstAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap(
    (each) => each ?? [],
  );
  const found =
    addresses.find(({ internal, family }) => !internal && family === "IPv4") ??
    addresses.find(({ internal, scopeid }) => !internal && scopeid === 0);
  if (found === undefined)
    throw new UserError("this host has no address but loopback: say --address");
  return found.address;
}

export function nameOf(options: SidecarCommandOptions): string {
  return options.name ?? hostname().toLowerCase();
}

export function applicationPorts(
  options: SidecarCommandOptions,
): Record<string, number> {
  const ports: Record<string, number> = {};
  for (const [name, text] of Object.entries(
    pairsOf("--app-port", options.appPort ?? []),
  ))
    ports[name] = portOf("--app-port", text);
  return ports;
}

function publishOf(text: string): { port: number; appPort: number } {
  const [port, appPort, ...rest] = text.split("=");
  if (port === undefined || appPort === undefined || rest.length > 0)
    throw new UserError(`invalid --publish ${text}: expected PORT=APPPORT`);
  return {
    port: portOf("--publish", port),
    appPort: portOf("--publish", appPort),
  };
}

function upstreamOf(text: string): { port: number; to: string } {
  const at = text.indexOf("=");
  if (at <= 0)
    throw new UserError(
      `invalid --upstream ${text}: expected PORT=SERVICE.NAMESPACE[:PORT]`,
    );
  return {
    port: portOf("--upstream", text.slice(0, at)),
    to: text.slice(at + 1),
  };
}

function accessLogOf(text: string): AccessLogMode {
  if (text === "errors" || text === "all" || text === "none") return text;
  throw new UserError(
    `invalid --access-log ${text}: expected errors, all or none`,
  );
}

function linkProtocolOf(text: string): Protocol {
  if (text === "h2" || text === "http/1.1") return text;
  throw new UserError(
    `invalid --link-protocol ${text}: expected h2 or http/1.1`,
  );
}

function durationOption(flag: string, text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined)
    throw new UserError(
      `invalid ${flag} ${text}: expected a duration like 30s or 1m30s`,
    );
  return ms;
}

export function countOf(flag: string, text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1)
    throw new UserError(
      `invalid ${flag} ${text}: expected a whole number above 0`,
    );
  return count;
}

/** Threads cost memory, and their links to every peer: more than there are cores of a large machine nobody can have meant. */
const MOST_WORKERS = 64;

export function workersOf(flag: string, text: string): number {
  const workers = countOf(flag, text);
  if (workers > MOST_WORKERS)
    throw new UserError(`${flag} ${text}: ${MOST_WORKERS} at most`);
  return workers;
}
