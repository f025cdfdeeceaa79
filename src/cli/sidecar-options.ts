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
  readonly waitForToken?: boolean;
  readonly state: string;
  readonly takeOver?: boolean;
  readonly resources?: string;
  readonly allowShrink?: boolean;
  readonly certificate?: string;
  readonly workloadApi?: string;
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
  readonly dns?: string;
  readonly dnsUpstream?: readonly string[];
  readonly scope?: string;
  readonly linkProtocol: string;
  readonly concurrency: string;
  readonly accessLog: string;
  readonly accessLogFile?: string;
  readonly otlpEndpoint?: string;
  readonly otlpProtocol?: string;
  readonly otlpMetricsInterval?: string;
  readonly zipkinEndpoint?: string;
  readonly drainTimeout: string;
  readonly exitWith?: string;
  readonly maxConfigBytes?: string;
  readonly logLevel: string;
}

const port = String;
/** This machine alone. */
export const HERE = "127.0.0.1";
/** Istio's port. */
const DEFAULT_DNS = `${HERE}:15053`;

export function withSidecarOptions(command: Command): Command {
  // In the order in which the help shows them.
  const groups = [
    withSources,
    withFiles,
    withInstance,
    withPorts,
    withNames,
    withTraffic,
    withEnd,
  ];
  return groups.reduce(
    (result, withGroup) => withGroup(result),
    withLimitOptions(command),
  );
}

/** Where config and certificate come from. */
function withSources(command: Command): Command {
  return command
    .option(CONFIG_OPTION, "YAML file with these options, by their long names")
    .addOption(
      option("--control-plane <host:port>", "address of the control plane"),
    )
    .addOption(
      option(
        "--token <text>",
        'enrolment token, from "wherry token create"; needed until the state directory has a certificate',
      ),
    )
    .addOption(option("--token-file <file>", "file with the enrolment token"))
    .addOption(
      option(
        "--wait-for-token",
        "wait for --token-file, which may not be there yet, and read it anew for each enrolment",
      ),
    )
    .addOption(
      option(
        "--state <directory>",
        "directory for the last good config, the certificate and the admin port's token",
        ".wherry/sidecar",
      ),
    )
    .addOption(
      option(
        "--take-over",
        "replace the sidecar that runs with the same state directory, if any: its ports are taken over once this one is ready, and that one drains",
      ),
    )
    .addOption(
      option(
        "--resources <path>",
        "file or folder with resources, in place of a control plane; read again when it changes",
      ),
    )
    .addOption(
      option(
        "--scope <scope>",
        `what it holds of the mesh: used (the services that it calls, asked for at the first call) or all (what it may call); with --resources: all; default: ${DEFAULT_SETTINGS.scope}`,
      ),
    );
}

/** Where they come from without a control plane. */
function withFiles(command: Command): Command {
  return command
    .addOption(
      option(
        "--allow-shrink",
        "with --resources: use files even if they hold far fewer resources than before",
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
        "--workload-api <address>",
        "with --resources: socket of a SPIFFE Workload API, such as unix:///run/spire/sockets/agent.sock, in place of the three files",
      ),
    );
}

/** What the sidecar registers. */
function withInstance(command: Command): Command {
  return command
    .addOption(
      option(
        "--name <name>",
        "name of this instance; default: the host's name",
      ),
    )
    .addOption(
      listOption(
        "--label <pairs>",
        "with --resources: labels of this instance, such as app=web; in a mesh, the token has them",
      ),
    )
    .addOption(
      option(
        "--address <ip>",
        "address at which other sidecars reach this one; default: the host's first",
      ),
    )
    .addOption(
      listOption(
        "--app-port <name=port>",
        "port of the application, by its name in the Service, such as http=8080",
      ),
    )
    .addOption(
      option(
        "--app-address <ip>",
        "address that the application listens on",
        DEFAULT_SETTINGS.appAddress,
      ),
    )
    .addOption(
      option("--locality <region/zone/subzone>", "locality of this instance"),
    )
    .addOption(
      option(
        "--weight <number>",
        "share of the calls, relative to other instances",
      ),
    )
    .addOption(
      option(
        "--ttl <duration>",
        "how long it stays registered after its last renewal",
      ),
    );
}

/** Where it listens, and what leads there. */
function withPorts(command: Command): Command {
  return command
    .addOption(
      option(
        "--host <ip>",
        "address for the link, captured and published connections; :: is every address",
        DEFAULT_SETTINGS.host,
      ),
    )
    .addOption(
      option(
        "--outbound-port <port>",
        "port for calls of the application; on loopback only",
        port(DEFAULT_PORTS.outbound),
      ),
    )
    .addOption(
      option(
        "--inbound-port <port>",
        "port for captured calls to the application",
        port(DEFAULT_PORTS.inbound),
      ),
    )
    .option("--no-capture", "do not open the port for captured calls")
    .addOption(
      option(
        "--link-port <port>",
        "port of the link between sidecars",
        port(DEFAULT_PORTS.link),
      ),
    )
    .addOption(
      option(
        "--admin-port <port>",
        "port of the admin pages; on loopback only",
        port(DEFAULT_PORTS.admin),
      ),
    )
    .addOption(
      option(
        "--metrics-port <port>",
        "port of metrics and readiness",
        port(DEFAULT_PORTS.metrics),
      ),
    )
    .addOption(
      listOption(
        "--publish <port=appport>",
        "port for callers without a sidecar, subject to PeerAuthentication",
      ),
    )
    .addOption(
      listOption(
        "--trusted-proxy <ranges>",
        "callers (CIDR) without a certificate, such as a load balancer, whose Forwarded and X-Forwarded-* headers are kept; those of others are replaced",
      ),
    )
    .addOption(
      listOption(
        "--upstream <port=service.ns[:port]>",
        "local port that leads to one service; NAMESPACE/SERVICE without a port: a service whose config is held from the start",
      ),
    );
}

/** Whose names it resolves. */
function withNames(command: Command): Command {
  return command
    .addOption(
      option(
        "--dns [host:port]",
        `resolve names of the mesh for this machine's applications, by UDP and TCP; without an address, ${DEFAULT_DNS}`,
      ).preset(DEFAULT_DNS),
    )
    .addOption(
      listOption(
        "--dns-upstream <ip:port>",
        "with --dns: name servers for names outside the mesh; without a port, 53; default: those of /etc/resolv.conf",
      ),
    );
}

/** How traffic is carried and reported. */
function withTraffic(command: Command): Command {
  return command
    .addOption(
      option(
        "--link-protocol <protocol>",
        "protocol of the link: h2 or http/1.1",
        DEFAULT_SETTINGS.linkProtocol,
      ),
    )
    .addOption(
      option(
        "--concurrency <workers>",
        "worker threads; more than one only if one core is too little",
        String(DEFAULT_SETTINGS.concurrency),
      ),
    )
    .addOption(
      option(
        "--access-log <mode>",
        "requests that are logged: errors, all or none",
        DEFAULT_SETTINGS.accessLog,
      ),
    )
    .addOption(
      option(
        "--access-log-file <file>",
        "file for the access log, which SIGUSR1 opens anew; default: standard output",
      ),
    )
    .addOption(otlpEndpointOption("spans"))
    .addOption(
      option(
        "--otlp-protocol <protocol>",
        "http/protobuf or grpc; default: OTEL_EXPORTER_OTLP_PROTOCOL, else http/protobuf",
      ),
    )
    .addOption(
      option(
        "--otlp-metrics-interval <duration>",
        "how often metrics go to the collector too, 1s at least; default: they are served alone",
      ),
    )
    .addOption(
      option(
        "--zipkin-endpoint <url>",
        "where Zipkin takes spans, http://HOST:9411/api/v2/spans, in place of a collector; default: OTEL_EXPORTER_ZIPKIN_ENDPOINT",
      ),
    )
    .addOption(
      option(
        "--max-config-bytes <bytes>",
        "largest config that is accepted; a larger one is refused and the one in force stays; default: 64 MiB",
      ),
    )
    .addOption(
      option(
        "--log-level <level>",
        "log level: trace, debug, info, warn, error or silent",
        "info",
      ),
    );
}

/** When it ends. */
function withEnd(command: Command): Command {
  return command
    .addOption(
      option(
        "--drain-timeout <duration>",
        "longest time from SIGTERM to its end: for requests in flight, and for the application's calls until that is gone",
        "30s",
      ),
    )
    .addOption(
      option(
        "--exit-with <pid>",
        "process of the application: the sidecar ends with it, and after SIGTERM serves its calls until then",
      ),
    );
}
