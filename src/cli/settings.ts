/** Where a flag's value comes from when it is not on the command line: its environment variable, then the `--config` file. */
import type { SpanProtocol } from "../telemetry/exporter.ts";
import type { OtlpDestination } from "../telemetry/span-transport.ts";
import type { Stats } from "node:fs";
import { open } from "node:fs/promises";
import { isIP } from "node:net";
import { Option, type Command } from "commander";
import { parse } from "yaml";
import { messageOf, UserError } from "../core/errors.ts";
import { secretFault } from "../core/secret-file.ts";

/**
 * An option of a process, or of the way to the API, that `WHERRY_NAME` sets too: `--control-plane` is WHERRY_CONTROL_PLANE. What a command
 * acts on, and how far it goes, is `plainOption`'s.
 */
export function option(
  flags: string,
  description: string,
  fallback?: string,
): Option {
  const made = plainOption(flags, description, fallback);
  return made.env(`WHERRY_${made.name().toUpperCase().replaceAll("-", "_")}`);
}

/** An option that the command line alone sets: a variable that was left in an environment must not choose what is deleted. */
export function plainOption(
  flags: string,
  description: string,
  fallback?: string,
): Option {
  const made = new Option(flags, description);
  return fallback === undefined ? made : made.default(fallback);
}

/** An option that may be given several times; in its environment variable, values stand apart by commas. */
export function listOption(flags: string, description: string): Option {
  return option(flags, description).argParser(addTo);
}

export function plainListOption(flags: string, description: string): Option {
  return plainOption(flags, description).argParser(addTo);
}

function addTo(value: string, previous: string[] | undefined): string[] {
  return [
    ...(previous ?? []),
    ...value.split(",").filter((part) => part !== ""),
  ];
}

export const CONFIG_OPTION = "--config <file>";
/** The one option whose value is a secret itself, instead of the name of a file with one. */
const SECRET = "token";

/** Fills what neither the command line nor the environment gave from the YAML file that `--config` names; keys are the flags' long names. */
export async function applyConfigFile(command: Command): Promise<void> {
  const file: unknown = command.getOptionValue("config");
  if (typeof file !== "string") return;
  const values = await readConfig(file);
  for (const [key, value] of Object.entries(values)) {
    const known = command.options.find((each) => each.name() === key);
    if (known === undefined)
      throw new UserError(
        `${file}: there is no option --${key}; "wherry ${command.name()} --help" lists them`,
      );
    const source = command.getOptionValueSource(known.attributeName());
    if (source === "cli" || source === "env") continue;
    command.setOptionValueWithSource(
      known.attributeName(),
      configValue(file, known, value),
      "config",
    );
  }
}

async function readConfig(file: string): Promise<Record<string, unknown>> {
  let value: unknown;
  let facts: Stats;
  try {
    await using handle = await open(file, "r");
    facts = await handle.stat();
    value = parse(await handle.readFile("utf8"));
  } catch (error) {
    throw new UserError(`--config ${file}: ${messageOf(error)}`);
  }
  if (value === null) return {};
  if (typeof value !== "object" || Array.isArray(value))
    throw new UserError(
      `invalid --config ${file}: expected a mapping of option names to values`,
    );
  // A file of settings may be open to all, one with a secret in it may not.
  const fault =
    SECRET in value
      ? secretFault(facts, file, `the file with "${SECRET}"`)
      : undefined;
  if (fault !== undefined) throw new UserError(`--config: ${fault}`);
  return value as Record<string, unknown>;
}

function configValue(file: string, known: Option, value: unknown): unknown {
  const isSwitch = known.isBoolean() || known.negate;
  if (typeof value === "boolean" && isSwitch)
    // "no-capture: true" takes the capture away.
    return known.negate ? !value : value;
  // "dns: true" is the option without its value.
  if (value === true && known.optional) return known.presetArg;
  if (isSwitch)
    throw new UserError(`${file}: ${known.name()} is a switch: true or false`);
  if (Array.isArray(value) && known.parseArg !== undefined)
    return value.map(String);
  if (typeof value === "string" || typeof value === "number")
    return known.parseArg === undefined
      ? String(value)
      : known.parseArg(String(value), undefined as never);
  throw new UserError(`${file}: ${known.name()} takes text or a number`);
}

/** `what`: whose spans. */
export function otlpEndpointOption(what: string): Option {
  return option(
    "--otlp-endpoint <url>",
    `collector for ${what} (OTLP); default: OTEL_EXPORTER_OTLP_ENDPOINT`,
  );
}

/** The collector's base address; undefined where spans are not wanted. */
export function otlpEndpointOf(
  { otlpEndpoint }: { readonly otlpEndpoint?: string },
  environment: Environment,
): string | undefined {
  const endpoint = otlpEndpoint ?? environment["OTEL_EXPORTER_OTLP_ENDPOINT"];
  return endpoint === "" ? undefined : endpoint;
}

type Environment = Readonly<Record<string, string | undefined>>;

interface TelemetryOptions {
  readonly otlpEndpoint?: string;
  readonly otlpProtocol?: string;
  readonly otlpMetricsInterval?: string;
  readonly zipkinEndpoint?: string;
}

/** Where spans go, and how; undefined where they are not wanted. Zipkin's endpoint is preferred where both are given. */
export function spanDestination(
  options: TelemetryOptions,
  environment: Environment,
): { readonly endpoint: string; readonly protocol: SpanProtocol } | undefined {
  const zipkin =
    options.zipkinEndpoint ??
    (options.otlpEndpoint === undefined
      ? environment["OTEL_EXPORTER_ZIPKIN_ENDPOINT"]
      : undefined);
  if (zipkin === undefined || zipkin === "")
    return otlpDestination(options, environment);
  if (
    options.otlpEndpoint !== undefined &&
    options.otlpMetricsInterval === undefined
  )
    throw new UserError(
      "specify either --otlp-endpoint or --zipkin-endpoint, not both: without --otlp-metrics-interval nothing goes to the first",
    );
  return { endpoint: urlOf("--zipkin-endpoint", zipkin), protocol: "zipkin" };
}

/** Where metrics go, besides being served; undefined where they do not. */
export function metricsDestination(
  options: TelemetryOptions,
  environment: Environment,
): OtlpDestination | undefined {
  if (options.otlpMetricsInterval === undefined) return undefined;
  const destination = otlpDestination(options, environment);
  if (destination === undefined)
    throw new UserError("--otlp-metrics-interval needs --otlp-endpoint");
  return destination;
}

function otlpDestination(
  options: TelemetryOptions,
  environment: Environment,
): OtlpDestination | undefined {
  const endpoint = otlpEndpointOf(options, environment);
  if (endpoint === undefined) return undefined;
  const protocol =
    options.otlpProtocol ??
    (environment["OTEL_EXPORTER_OTLP_PROTOCOL"] || "http/protobuf");
  if (protocol !== "http/protobuf" && protocol !== "grpc")
    throw new UserError(
      `invalid --otlp-protocol "${protocol}": expected http/protobuf or grpc`,
    );
  if (protocol === "grpc") assertNamed(endpoint);
  return { endpoint, protocol };
}

/** gRPC's library asks for the host as TLS server name, which no address can be (RFC 6066 3): Node throws at one. */
function assertNamed(endpoint: string): void {
  const url = URL.parse(endpoint);
  if (url?.protocol !== "https:") return;
  if (isIP(url.hostname.replace(/^\[|\]$/g, "")) !== 0)
    throw new UserError(
      `invalid --otlp-endpoint "${endpoint}": expected a host name, for gRPC over TLS takes no address`,
    );
}

function urlOf(flag: string, text: string): string {
  if (/^https?:$/.test(URL.parse(text)?.protocol ?? "")) return text;
  throw new UserError(
    `invalid ${flag} "${text}": expected a URL with http or https`,
  );
}

/** A TCP port from text. */
export function portOf(flag: string, text: string): number {
  const port = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || port > 65_535)
    throw new UserError(
      `invalid ${flag} "${text}": expected a port from 0 to 65535`,
    );
  return port;
}

/** "key=value,key=value" or several of them, to a mapping. */
export function pairsOf(
  flag: string,
  texts: readonly string[],
): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const text of texts
    .flatMap((each) => each.split(","))
    .filter((each) => each !== "")) {
    const at = text.indexOf("=");
    if (at <= 0)
      throw new UserError(`${flag}: "${text}" is not of the form KEY=VALUE`);
    pairs[text.slice(0, at)] = text.slice(at + 1);
  }
  return pairs;
}

/** "HOST:PORT" with an IPv6 address in brackets. */
export function addressOf(
  flag: string,
  text: string,
): { host: string; port: number } {
  const [, bracketed, plain, port] =
    /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]+)$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || port === undefined)
    throw new UserError(`${flag}: "${text}" is not HOST:PORT`);
  return { host, port: portOf(flag, port) };
}
