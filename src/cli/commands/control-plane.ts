/** `wherry control-plane`: API, certificate authority and config push, until it is asked to stop. */
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { messageOf, UserError } from "../../core/errors.ts";
import { defectIn, makeLogger } from "../../core/log.ts";
import { readSecret } from "../../core/secret-file.ts";
import {
  bootstrapAccountOf,
  type BootstrapAccount,
  keepBootstrapTokens,
} from "../../control-plane/enrolment/bootstrap-tokens.ts";
import type { ListenOptions } from "../../control-plane/api/server.ts";
import { apiClientsOf } from "../api-clients.ts";
import { startControlPlane } from "../../control-plane/control-plane.ts";
import type { Profile } from "../../control-plane/first-start.ts";
import { makeApiTracing } from "../../control-plane/tracing.ts";
import { collectWhenCalm } from "../../runtime/calm-collection.ts";
import { leaveStartBehind, trimMemory } from "../../runtime/memory-trim.ts";
import { untilStopped, type CliContext } from "../context.ts";
import {
  issuerOf,
  withIssuer,
  type IssuerOptions,
} from "../control-plane/issuer-options.ts";
import {
  addressOf,
  CONFIG_OPTION,
  listOption,
  option,
  otlpEndpointOf,
  otlpEndpointOption,
} from "../settings.ts";

interface ControlPlaneCommandOptions extends IssuerOptions {
  readonly state: string;
  readonly store: string;
  readonly trustDomain: string;
  readonly profile: string;
  readonly api: string;
  readonly apiCertificate?: string;
  readonly apiClientCa?: string;
  readonly apiClient?: readonly string[];
  readonly apiKey?: string;
  readonly push: string;
  readonly advertise?: string;
  readonly bootstrapTokens?: string;
  readonly bootstrapAccount?: readonly string[];
  readonly otlpEndpoint?: string;
  readonly logLevel: string;
}

export function registerControlPlane(
  program: Command,
  context: CliContext,
): void {
  withIssuer(
    withBootstrap(withApi(withOptions(program.command("control-plane")))),
  )
    .description("run the API, the certificate authority and config push")
    .action((options: ControlPlaneCommandOptions) =>
      runControlPlane(context, options),
    );
}

function withOptions(command: Command): Command {
  return command
    .option(CONFIG_OPTION, "YAML file with these options, by their long names")
    .addOption(
      option(
        "--state <directory>",
        "directory for the database, the authority's keys and the first token",
        ".wherry",
      ),
    )
    .addOption(option("--store <kind>", "store: sqlite or memory", "sqlite"))
    .addOption(
      option(
        "--trust-domain <name>",
        "trust domain of every identity in the mesh",
        "cluster.local",
      ),
    )
    .addOption(
      option(
        "--profile <name>",
        "default action of the Mesh written at first start: production denies, development allows",
        "production",
      ),
    )
    .addOption(
      option(
        "--push <host:port>",
        "address on which sidecars enrol and get their config",
        "0.0.0.0:15012",
      ),
    )
    .addOption(
      option(
        "--advertise <host:port>",
        "address at which sidecars reach --push; enrolment tokens carry it",
      ),
    )
    .addOption(otlpEndpointOption("spans of the API's requests"))
    .addOption(
      option(
        "--log-level <level>",
        "log level: trace, debug, info, warn, error or silent",
        "info",
      ),
    );
}

function withApi(command: Command): Command {
  return command
    .addOption(
      option(
        "--api <host:port>",
        "address that the API listens on",
        "127.0.0.1:15080",
      ),
    )
    .addOption(
      option(
        "--api-certificate <file>",
        "PEM certificate chain of the API; required beyond loopback",
      ),
    )
    .addOption(
      option("--api-key <file>", "PEM private key of the API's certificate"),
    )
    .addOption(
      option(
        "--api-client-ca <file>",
        "PEM certificates of the authorities whose client certificates the API accepts in place of tokens",
      ),
    )
    .addOption(
      listOption(
        "--api-client <client>",
        "NAME=ROLE or NAME=ROLE:NAMESPACE,NAMESPACE for a client certificate; NAME is a URI in it, such as a SPIFFE ID, or CN=NAME; may be repeated",
      ),
    );
}

function withBootstrap(command: Command): Command {
  return command
    .addOption(
      option(
        "--bootstrap-tokens <directory>",
        "directory for an enrolment token of each --bootstrap-account, in NAME/token; renewed before they end",
      ),
    )
    .addOption(
      listOption(
        "--bootstrap-account <account>",
        "NAME=NAMESPACE/ACCOUNT:LABEL=VALUE, such as web=shop/web:app=web; default label: app=ACCOUNT; may be repeated",
      ),
    );
}

async function runControlPlane(
  context: CliContext,
  options: ControlPlaneCommandOptions,
): Promise<void> {
  const accounts = accountsOf(options);
  const issuer = issuerOf(options);
  const logger = makeLogger({
    level: options.logLevel,
    bindings: { component: "control-plane" },
  });
  const endpoint = otlpEndpointOf(options, context.environment);
  const tracing =
    endpoint === undefined
      ? undefined
      : makeApiTracing({ endpoint, clock: context.clock, logger });
  const controlPlane = await startControlPlane({
    stateDirectory: options.state,
    store: storeOf(options.store),
    trustDomain: options.trustDomain,
    profile: profileOf(options.profile),
    api: { ...addressOf("--api", options.api), ...(await tlsOf(options)) },
    push: {
      ...addressOf("--push", options.push),
      ...(options.advertise === undefined
        ? {}
        : { advertise: options.advertise }),
    },
    ...(issuer === undefined ? {} : { issuer }),
    ...(tracing === undefined ? {} : { tracing }),
    clock: context.clock,
    logger,
  });
  context.lastResort?.protect({
    component: "control-plane",
    stateDirectory: options.state,
    inFlight: () => controlPlane.inFlight(),
  });
  context.userSignals?.answer((signal) =>
    logger.warn({ signal }, "the signal does nothing here"),
  );
  const { bootstrapTokens, advertise } = options;
  const stopBootstrap =
    bootstrapTokens === undefined
      ? undefined
      : await keepBootstrapTokens({
          ...{ directory: bootstrapTokens, accounts, logger },
          store: controlPlane.store,
          fingerprints: () => controlPlane.authority.fingerprints,
          ...(advertise === undefined ? {} : { address: advertise }),
          clock: context.clock,
        });
  // What the store was read from is garbage by now; sidecars that come back all at once leave some behind again.
  leaveStartBehind();
  const { clock } = context;
  const stopTrimming = trimMemory({ clock });
  const stopCollecting = collectWhenCalm({ clock });
  // The SDK is large: it is loaded once the API responds.
  tracing?.start().catch(defectIn(logger, "the start of tracing"));
  await untilStopped(context);
  logger.info("stopping");
  stopTrimming();
  stopCollecting();
  await stopBootstrap?.();
  await controlPlane.close();
  await tracing?.close();
}

function accountsOf({
  bootstrapTokens,
  bootstrapAccount = [],
}: ControlPlaneCommandOptions): readonly BootstrapAccount[] {
  const accounts = bootstrapAccount.map(bootstrapAccountOf);
  if ((bootstrapTokens === undefined) !== (accounts.length === 0))
    throw new UserError(
      "--bootstrap-tokens and --bootstrap-account belong together",
    );
  const names = new Set(accounts.map(({ name }) => name));
  if (names.size < accounts.length)
    throw new UserError("--bootstrap-account: each needs a NAME of its own");
  return accounts;
}

function storeOf(text: string): "sqlite" | "memory" {
  if (text === "sqlite" || text === "memory") return text;
  throw new UserError(`invalid --store ${text}: expected sqlite or memory`);
}

function profileOf(text: string): Profile {
  if (text === "production" || text === "development") return text;
  throw new UserError(
    `invalid --profile ${text}: expected production or development`,
  );
}

async function tlsOf(
  options: ControlPlaneCommandOptions,
): Promise<Pick<ListenOptions, "tls">> {
  const { apiCertificate, apiKey } = options;
  const clients = await apiClientsOf(options);
  if (apiCertificate === undefined && apiKey === undefined) {
    if (clients !== undefined)
      throw new UserError(
        "--api-client-ca needs --api-certificate and --api-key: client certificates come by TLS",
      );
    return {};
  }
  if (apiCertificate === undefined || apiKey === undefined)
    throw new UserError("--api-certificate and --api-key belong together");
  try {
    return {
      tls: {
        certificate: await readFile(apiCertificate, "utf8"),
        privateKey: await readSecret(apiKey, "the API's private key"),
        ...(clients === undefined ? {} : { clients }),
      },
    };
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(
      `the API's certificate cannot be read: ${messageOf(error)}`,
    );
  }
}
