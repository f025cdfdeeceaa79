/** The options of `wherry sidecar`: their names, defaults and what the help says of them. */
import type { Command } from "commander";
import { DEFAULT_PORTS } from "../sidecar/sidecar.ts";
import { DEFAULT_SETTINGS } from "../sidecar/settings.ts";
import { withLimitOptions, type LimitCommandOptions } from "./limit-options.ts";
import {
  CONFIG_OPTION,
  listOption,
  option,
  otlpEndpointOption,
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
/** This machine alone. */
export const HERE = "127.0.0.1";

export function withSidecarOptions(command: Command): Command {
  // In the order in which the help shows them.
  const groups = [withSources, withInstance, withPorts, withTraffic];
  return groups.reduce(
    (result, withGroup) => withGroup(result),
    withLimitOptions(command),
  );
}

/** Where config and certificate come from. */
function withSources(command: Command): Command {
  return command
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
    );
}

/** What the sidecar registers. */
function withInstance(command: Command): Command {
  return command
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
    );
}

/** Where it listens, and what leads there. */
function withPorts(command: Command): Command {
  return command
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
    );
}

/** How traffic is carried and reported. */
function withTraffic(command: Command): Command {
  return command
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
