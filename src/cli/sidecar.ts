/** `wherry sidecar`: the proxy beside one instance of a service, until it is told to stop. */
import { readFile } from "node:fs/promises";
import { hostname, networkInterfaces } from "node:os";
import type { Command } from "commander";
import type { Agent } from "../agent/agent.ts";
import { startFileAgent } from "../agent/file-agent.ts";
import { startAgent } from "../agent/mesh-agent.ts";
import { parseDuration } from "../core/duration.ts";
import { messageOf, UserError } from "../core/errors.ts";
import { makeLogger, type Logger } from "../core/log.ts";
import {
  DEFAULT_PORTS,
  startSidecar,
  type BoundPorts,
} from "../proxy/sidecar.ts";
import type { WorkloadSpec } from "../resources/workload.ts";
import type { AccessLogMode } from "../telemetry/access-log.ts";
import { makeSpanExporter, type SpanExporter } from "../telemetry/exporter.ts";
import type { Protocol } from "../wire/exchange.ts";
import { untilStopped, type CliContext } from "./context.ts";
import {
  CONFIG_OPTION,
  listOption,
  option,
  pairsOf,
  portOf,
} from "./settings.ts";

interface SidecarCommandOptions {
  readonly controlPlane?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly state: string;
  readonly resources?: string;
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
  readonly upstream?: readonly string[];
  readonly linkProtocol: string;
  readonly accessLog: string;
  readonly accessLogFile?: string;
  readonly otlpEndpoint?: string;
  readonly drainTimeout: string;
  readonly maxConfigBytes?: string;
  readonly logLevel: string;
}

export function registerSidecar(program: Command, context: CliContext): void {
  const port = String;
  program
    .command("sidecar")
    .description("carry all traffic of one instance of a service")
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
        "where the last good config and the certificate are kept",
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
        "127.0.0.1",
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
        "::",
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
        "--upstream <port=service.ns[:port]>",
        "a local port that leads to one service",
      ),
    )
    .addOption(option("--link-protocol <protocol>", "h2 or http/1.1", "h2"))
    .addOption(option("--access-log <mode>", "errors, all or none", "errors"))
    .addOption(
      option(
        "--access-log-file <file>",
        "where access log lines go; standard output without it",
      ),
    )
    .addOption(
      option(
        "--otlp-endpoint <url>",
        "where spans go (OTLP over HTTP); else OTEL_EXPORTER_OTLP_ENDPOINT",
      ),
    )
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
    )
    .action((options: SidecarCommandOptions) => runSidecar(context, options));
}

async function runSidecar(
  context: CliContext,
  options: SidecarCommandOptions,
): Promise<void> {
  const logger = makeLogger({
    level: options.logLevel,
    bindings: { component: "sidecar", workload: nameOf(options) },
  });
  const appPorts = applicationPorts(options);
  let agent: Agent | undefined;
  const exporter = exporterOf(context, options, logger, () => agent);
  const sidecar = await startSidecar({
    agent: async (ports) =>
      (agent = await startOwnAgent(context, options, logger, appPorts, ports)),
    ports: {
      outbound: portOf("--outbound-port", options.outboundPort),
      ...(options.capture
        ? { inbound: portOf("--inbound-port", options.inboundPort) }
        : {}),
      link: portOf("--link-port", options.linkPort),
      admin: portOf("--admin-port", options.adminPort),
      metrics: portOf("--metrics-port", options.metricsPort),
    },
    host: options.host,
    ...(options.host === "127.0.0.1" ? { metricsHost: options.host } : {}),
    publish: (options.publish ?? []).map(publishOf),
    upstream: (options.upstream ?? []).map(upstreamOf),
    ...(options.appPort === undefined
      ? {}
      : { appPorts: Object.values(appPorts) }),
    appAddress: options.appAddress,
    accessLog: accessLogOf(options.accessLog),
    ...(options.accessLogFile === undefined
      ? {}
      : { accessLogFile: options.accessLogFile }),
    ...(exporter === undefined ? {} : { tracing: { sink: exporter.sink } }),
    linkProtocol: linkProtocolOf(options.linkProtocol),
    drainTimeout: durationOption("--drain-timeout", options.drainTimeout),
    clock: context.clock,
    logger,
  });
  logger.info(portsOf(sidecar.ports), "the sidecar listens");
  void sidecar.whenReady.then(async () => {
    const { source, configReceivedAt } = sidecar.agent.state.value;
    const age =
      configReceivedAt === undefined
        ? undefined
        : Math.round((context.clock.wall() - configReceivedAt) / 1000);
    logger.info(
      { source, configAgeSeconds: age },
      source === "disk"
        ? "ready, with the config from disk: the control plane has not confirmed it yet"
        : "ready",
    );
    // The SDK is large: it is loaded once traffic is served.
    await exporter?.start();
  });
  await untilStopped(context);
  logger.info("stopping: deregister, GOAWAY, drain");
  await sidecar.shutDown();
  await exporter?.close();
  logger.info("stopped");
}

/** The agent of a mesh, or that of files where there is no control plane. */
async function startOwnAgent(
  context: CliContext,
  options: SidecarCommandOptions,
  logger: Logger,
  appPorts: Record<string, number>,
  bound: BoundPorts,
): Promise<Agent> {
  const { clock } = context;
  const maxConfigBytes =
    options.maxConfigBytes === undefined
      ? {}
      : {
          maxConfigBytes: countOf("--max-config-bytes", options.maxConfigBytes),
        };
  if (options.resources !== undefined) {
    if (options.controlPlane !== undefined)
      throw new UserError(
        "--resources is for a sidecar without a control plane: leave --control-plane out, or it",
      );
    const { certificate, privateKey, trustBundle } = options;
    if (
      certificate === undefined ||
      privateKey === undefined ||
      trustBundle === undefined
    )
      throw new UserError(
        "--resources needs --certificate, --private-key and --trust-bundle",
      );
    const self = {
      name: nameOf(options),
      labels: pairsOf("--label", options.label ?? []),
      ports: appPorts,
    };
    return startFileAgent({
      resources: options.resources,
      certificate,
      privateKey,
      trustBundle,
      self,
      ...maxConfigBytes,
      clock,
      logger,
    });
  }
  if (options.controlPlane === undefined)
    throw new UserError(
      "where does the config come from? --control-plane HOST:PORT, or --resources PATH without one",
    );
  if (options.label !== undefined)
    throw new UserError(
      "--label: in a mesh, labels are bound to the enrolment token (wherry token create --label …), for policy trusts them",
    );
  const token = await tokenOf(options);
  return startAgent({
    controlPlane: options.controlPlane,
    stateDirectory: options.state,
    ...(token === undefined ? {} : { token }),
    name: nameOf(options),
    workload: () => workloadOf(options, appPorts, bound),
    ...maxConfigBytes,
    clock,
    logger,
  });
}

async function tokenOf(
  options: SidecarCommandOptions,
): Promise<string | undefined> {
  if (options.tokenFile === undefined) return options.token;
  try {
    return (await readFile(options.tokenFile, "utf8")).trim();
  } catch (error) {
    throw new UserError(
      `--token-file ${options.tokenFile}: ${messageOf(error)}`,
    );
  }
}

/** What to register; nothing where the sidecar serves no port of an application. */
function workloadOf(
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

function nameOf(options: SidecarCommandOptions): string {
  return options.name ?? hostname().toLowerCase();
}

function applicationPorts(
  options: SidecarCommandOptions,
): Record<string, number> {
  const ports: Record<string, number> = {};
  for (const [name, text] of Object.entries(
    pairsOf("--app-port", options.appPort ?? []),
  ))
    ports[name] = portOf("--app-port", text);
  return ports;
}

function exporterOf(
  context: CliContext,
  options: SidecarCommandOptions,
  logger: Logger,
  agent: () => Agent | undefined,
): SpanExporter | undefined {
  const endpoint =
    options.otlpEndpoint ?? context.environment["OTEL_EXPORTER_OTLP_ENDPOINT"];
  if (endpoint === undefined || endpoint === "") return undefined;
  return makeSpanExporter({
    endpoint,
    logger,
    resource: () => {
      const self = agent()?.snapshot.value?.self;
      return {
        "service.name":
          self?.labels["app"] ?? self?.serviceAccount ?? "unknown",
        "service.namespace": self?.namespace ?? "",
        "service.instance.id": self?.name ?? nameOf(options),
        ...(self?.labels["version"] === undefined
          ? {}
          : { "service.version": self.labels["version"] }),
      };
    },
  });
}

function publishOf(text: string): { port: number; appPort: number } {
  const [port, appPort, ...rest] = text.split("=");
  if (port === undefined || appPort === undefined || rest.length > 0)
    throw new UserError(`--publish ${text}: PORT=APPPORT is wanted`);
  return {
    port: portOf("--publish", port),
    appPort: portOf("--publish", appPort),
  };
}

function upstreamOf(text: string): { port: number; to: string } {
  const at = text.indexOf("=");
  if (at <= 0)
    throw new UserError(
      `--upstream ${text}: PORT=SERVICE.NAMESPACE[:PORT] is wanted`,
    );
  return {
    port: portOf("--upstream", text.slice(0, at)),
    to: text.slice(at + 1),
  };
}

function accessLogOf(text: string): AccessLogMode {
  if (text === "errors" || text === "all" || text === "none") return text;
  throw new UserError(`--access-log ${text}: errors, all or none is wanted`);
}

function linkProtocolOf(text: string): Protocol {
  if (text === "h2" || text === "http/1.1") return text;
  throw new UserError(`--link-protocol ${text}: h2 or http/1.1 is wanted`);
}

function durationOption(flag: string, text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined)
    throw new UserError(
      `${flag} ${text}: a duration like 30s or 1m30s is wanted`,
    );
  return ms;
}

function countOf(flag: string, text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1)
    throw new UserError(`${flag} ${text}: a whole number above 0 is wanted`);
  return count;
}

function portsOf({
  outbound,
  inbound,
  link,
  admin,
  metrics,
}: BoundPorts): Record<string, number | undefined> {
  return { outbound, inbound, link, admin, metrics };
}
