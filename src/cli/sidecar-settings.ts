/** What the texts of the options of `wherry sidecar` mean. */
import { hostname } from "node:os";
import { join } from "node:path";
import type { Declared } from "../agent/interest/mesh-interest.ts";
import { parseDuration } from "../core/duration.ts";
import { UserError } from "../core/errors.ts";
import { interfacesHere } from "../core/interfaces.ts";
import { canonicalAddress } from "../core/text/network.ts";
import { findProcess, type ProcessLife } from "../runtime/process-life.ts";
import { DNS_NAME } from "../resources/schema-parts.ts";
import type { WorkloadSpec } from "../resources/workload/schema.ts";
import { parseAuthority } from "../proxy/destination.ts";
import {
  DEFAULT_SETTINGS,
  type Scope,
  type SidecarSettings,
} from "../sidecar/settings.ts";
import type { BoundPorts } from "../sidecar/sidecar.ts";
import type { AccessLogMode } from "../telemetry/access-log.ts";
import type { Protocol } from "../wire/exchange.ts";
import { limitsOf } from "./limit-options.ts";
import { addressOf, pairsOf, portOf } from "./settings.ts";
import { HERE, type SidecarCommandOptions } from "./sidecar-options.ts";

/** In the state directory. */
const NAMES_FILE = "virtual-addresses.jsonl";

/** What the options say, read and checked. Throws UserError. */
export function settingsOf(options: SidecarCommandOptions): SidecarSettings {
  const { host, accessLogFile } = options;
  const ports = {
    outbound: portOf("--outbound-port", options.outboundPort),
    ...(options.capture
      ? { inbound: portOf("--inbound-port", options.inboundPort) }
      : {}),
    link: portOf("--link-port", options.linkPort),
    admin: portOf("--admin-port", options.adminPort),
    metrics: portOf("--metrics-port", options.metricsPort),
  };
  return {
    concurrency: workersOf("--concurrency", options.concurrency),
    scope: scopeOf(options),
    ports,
    host,
    metricsHost: host === HERE ? HERE : DEFAULT_SETTINGS.metricsHost,
    publish: (options.publish ?? []).map(publishOf),
    upstream: (options.upstream ?? [])
      .filter((text) => !isServiceName(text))
      .map(upstreamOf),
    ...dnsOf(options),
    ...(options.appPort === undefined
      ? {}
      : { appPorts: foreignPorts(applicationPorts(options), ports) }),
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
  const addresses = interfacesHere();
  if (addresses === undefined)
    throw new UserError("this host does not tell its addresses: say --address");
  const found =
    addresses.find(({ internal, family }) => !internal && family === "IPv4") ??
    addresses.find(({ internal, scopeid }) => !internal && scopeid === 0);
  if (found === undefined)
    throw new UserError("this host has no address but loopback: say --address");
  return found.address;
}

export function nameOf(options: Pick<SidecarCommandOptions, "name">): string {
  return options.name ?? hostname().toLowerCase();
}

/** The name to enrol with. Throws UserError where the control plane can only refuse it: most often a host's that nobody chose. */
export function instanceNameOf(
  options: Pick<SidecarCommandOptions, "name">,
  name: string = nameOf(options),
): string {
  const { pattern, maxLength, expected } = DNS_NAME;
  if (
    name === "" ||
    (name.length <= maxLength && new RegExp(pattern).test(name))
  )
    return name;
  throw new UserError(
    options.name === undefined
      ? `the host name "${name}" cannot be the name of this instance: give one with --name, ${expected}`
      : `invalid --name "${name}": expected ${expected}`,
  );
}

export function applicationPorts(
  options: SidecarCommandOptions,
): Record<string, number> {
  const ports: Record<string, number> = {};
  for (const [name, text] of Object.entries(
    pairsOf("--app-port", options.appPort ?? []),
  ))
    ports[name] = applicationPort("--app-port", text);
  return ports;
}

/** One that something can listen on: 0 is none. */
function applicationPort(flag: string, text: string): number {
  const port = portOf(flag, text);
  if (port === 0)
    throw new UserError(
      `invalid ${flag} "${text}": expected the port that the application listens on, from 1 to 65535`,
    );
  return port;
}

/** No application can be on a port of the sidecar. */
function foreignPorts(
  appPorts: Readonly<Record<string, number>>,
  own: SidecarSettings["ports"],
): number[] {
  for (const [name, port] of Object.entries(appPorts))
    for (const [listener, taken] of Object.entries(own))
      if (port === taken)
        throw new UserError(
          `invalid --app-port ${name}=${port}: the sidecar itself has that port (--${listener}-port); expected the port that the application listens on`,
        );
  return Object.values(appPorts);
}

function publishOf(text: string): { port: number; appPort: number } {
  const [port, appPort, ...rest] = text.split("=");
  if (port === undefined || appPort === undefined || rest.length > 0)
    throw new UserError(`invalid --publish ${text}: expected PORT=APPPORT`);
  return {
    port: portOf("--publish", port),
    appPort: applicationPort("--publish", appPort),
  };
}

/** What the sidecar holds from the start: each Service of `--upstream`, and what its local ports lead to. */
export function declaredOf(options: SidecarCommandOptions): Declared {
  const upstreams = options.upstream ?? [];
  return {
    services: upstreams.filter(isServiceName),
    hosts: upstreams
      .filter((text) => !isServiceName(text))
      .flatMap((text) => {
        const host = parseAuthority(upstreamOf(text).to)?.host;
        return host === undefined ? [] : [host];
      }),
  };
}

function dnsOf({
  dns,
  dnsUpstream,
  state,
}: SidecarCommandOptions): Pick<SidecarSettings, "dns"> {
  if (dns === undefined) {
    if (dnsUpstream !== undefined)
      throw new UserError("--dns-upstream goes with --dns alone");
    return {};
  }
  const { host, port } = addressOf("--dns", dns);
  if (canonicalAddress(host) === undefined)
    throw new UserError(
      `invalid --dns ${dns}: expected an IP address and a port`,
    );
  const servers = dnsUpstream?.map(nameServerOf);
  const file = join(state, NAMES_FILE);
  return {
    dns: { host, port, file, ...(servers === undefined ? {} : { servers }) },
  };
}

/** The standard port where there is none. */
function nameServerOf(text: string): { host: string; port: number } {
  const plain = canonicalAddress(text);
  if (plain !== undefined) return { host: plain, port: 53 };
  const { host, port } = addressOf("--dns-upstream", text);
  if (canonicalAddress(host) === undefined || port === 0)
    throw new UserError(
      `invalid --dns-upstream ${text}: expected the IP address of a name server, with or without a port`,
    );
  return { host, port };
}

/** Files have all that there is. */
function scopeOf({ scope, resources }: SidecarCommandOptions): Scope {
  if (scope !== undefined && scope !== "used" && scope !== "all")
    throw new UserError(`invalid --scope ${scope}: expected used or all`);
  if (resources === undefined) return scope ?? DEFAULT_SETTINGS.scope;
  if (scope === "used")
    throw new UserError(
      "--scope used asks a control plane, and --resources has none: leave one of them out",
    );
  return "all";
}

/** "NAMESPACE/NAME" */
function isServiceName(text: string): boolean {
  return /^[a-z0-9-]+\/[a-z0-9.-]+$/.test(text);
}

function upstreamOf(text: string): { port: number; to: string } {
  const at = text.indexOf("=");
  if (at <= 0)
    throw new UserError(
      `invalid --upstream ${text}: expected PORT=SERVICE.NAMESPACE[:PORT] or NAMESPACE/SERVICE`,
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

export function durationOption(flag: string, text: string): number {
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

/** The process of --exit-with. */
export function applicationProcess({
  exitWith,
}: SidecarCommandOptions): ProcessLife | undefined {
  if (exitWith === undefined) return undefined;
  const found = findProcess(countOf("--exit-with", exitWith));
  if (found === undefined)
    throw new UserError(
      `invalid --exit-with ${exitWith}: expected the number of a process that runs`,
    );
  return found;
}

/** Threads cost memory, and their links to every peer: more than there are cores of a large machine nobody can have meant. */
const MOST_WORKERS = 64;

export function workersOf(flag: string, text: string): number {
  const workers = countOf(flag, text);
  if (workers > MOST_WORKERS)
    throw new UserError(`${flag} ${text}: ${MOST_WORKERS} at most`);
  return workers;
}
