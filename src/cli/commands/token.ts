/** `wherry token`: tokens with which sidecars enrol, and tokens for the API. */
import type { Command } from "commander";
import { timestamp } from "../../core/clock.ts";
import { UserError } from "../../core/errors.ts";
import { DEFAULT_NAMESPACE } from "../../resources/envelope.ts";
import { itemsIn, textIn } from "../answers.ts";
import {
  connectApi,
  textOf,
  withServer,
  type ServerOptions,
} from "../client.ts";
import type { CliContext } from "../context.ts";
import { outputOption, printOutput } from "../output.ts";
import { plainListOption, plainOption, pairsOf } from "../settings.ts";
import { table } from "../table.ts";

interface CreateOptions extends ServerOptions {
  readonly namespace: string;
  readonly serviceAccount?: string;
  readonly label?: readonly string[];
  readonly allowAddress?: readonly string[];
  readonly name?: string;
  readonly role?: string;
  readonly forNamespace?: readonly string[];
  readonly ttl?: string;
  readonly uses?: string;
  readonly output?: string;
}

export function registerToken(program: Command, context: CliContext): void {
  const token = program
    .command("token")
    .description("manage enrolment tokens for sidecars, and API tokens");
  registerCreate(token, context);
  registerList(token, context);
  registerRevoke(token, context);
}

function registerCreate(token: Command, context: CliContext): void {
  withServer(token.command("create"))
    .description(
      "make an enrolment token (--service-account) or an API token (--role); the secret is shown once",
    )
    .addOption(
      plainOption(
        "-n, --namespace <name>",
        "namespace of the workloads that may enrol",
        DEFAULT_NAMESPACE,
      ),
    )
    .option(
      "--service-account <name>",
      "service account of the workloads that enrol",
    )
    .addOption(
      plainListOption(
        "--label <pairs>",
        "labels of the workloads that enrol, such as app=web,version=v2",
      ),
    )
    .addOption(
      plainListOption(
        "--allow-address <ranges>",
        "addresses (CIDR) that they may register besides the one they call from, for NAT or several networks",
      ),
    )
    .option("--name <name>", "name of the only instance that may enrol")
    .option("--uses <count>", "number of enrolments; default: 1")
    .option("--role <role>", "role of an API token: admin, editor or viewer")
    .addOption(
      plainListOption(
        "--for-namespace <names>",
        "namespaces of an API token; default: all",
      ),
    )
    .option(
      "--ttl <duration>",
      "time until it expires, such as 1h30m; default for enrolment: 1h",
    )
    .addOption(outputOption("json"))
    .action(async (options: CreateOptions) => {
      const api = await connectApi(context, options);
      const { body } =
        options.role === undefined
          ? await api.call("POST", "/tokens/enrolment", enrolmentBody(options))
          : await api.call("POST", "/tokens/api", apiBody(options));
      const made = textIn(body, "token");
      printOutput(context, options, body, () => `${made}\n`);
    });
}

function registerList(token: Command, context: CliContext): void {
  withServer(token.command("list"))
    .description("list the tokens, without their secrets")
    .addOption(outputOption("json"))
    .action(async (options: ServerOptions & { readonly output?: string }) => {
      const { body } = await (
        await connectApi(context, options)
      ).call("GET", "/tokens");
      const items = itemsIn(body);
      printOutput(context, options, items, () =>
        table(["KIND", "ID", "FOR", "EXPIRES"], items.map(row)),
      );
    });
}

function registerRevoke(token: Command, context: CliContext): void {
  withServer(token.command("revoke"))
    .description("revoke a token at once")
    .argument("<kind>", "kind of token: enrolment or api")
    .argument("<id>", 'id, as "wherry token list" prints it')
    .action(async (kind: string, id: string, options: ServerOptions) => {
      if (kind !== "enrolment" && kind !== "api")
        throw new UserError(
          `invalid kind "${kind}": expected enrolment or api`,
        );
      await (
        await connectApi(context, options)
      ).call("DELETE", `/tokens/${kind}/${encodeURIComponent(id)}`);
      context.print(`${kind} token ${id} revoked\n`);
    });
}

function enrolmentBody(options: CreateOptions): Record<string, unknown> {
  if (options.serviceAccount === undefined)
    throw new UserError(
      "what is the token for? --service-account NAME makes an enrolment token, --role ROLE an API token",
    );
  const uses = options.uses === undefined ? undefined : Number(options.uses);
  if (uses !== undefined && !Number.isInteger(uses))
    throw new UserError(
      `invalid --uses ${options.uses ?? ""}: expected a whole number`,
    );
  return {
    namespace: options.namespace,
    serviceAccount: options.serviceAccount,
    labels: pairsOf("--label", options.label ?? []),
    ...(options.allowAddress === undefined
      ? {}
      : { addresses: options.allowAddress }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.ttl === undefined ? {} : { ttl: options.ttl }),
    ...(uses === undefined ? {} : { uses }),
  };
}

function apiBody(options: CreateOptions): Record<string, unknown> {
  return {
    role: options.role,
    ...(options.forNamespace === undefined
      ? {}
      : { namespaces: options.forNamespace }),
    ...(options.ttl === undefined ? {} : { ttl: options.ttl }),
  };
}

function row(item: Record<string, unknown>): string[] {
  const account = textOf(item["serviceAccount"]);
  const namespaces = Array.isArray(item["namespaces"])
    ? item["namespaces"].map(textOf).join(",")
    : "all namespaces";
  const purpose =
    account === ""
      ? `${textOf(item["role"])} in ${namespaces}`
      : `${textOf(item["namespace"])}/${account}, ${textOf(item["usesLeft"])} uses left`;
  const expires = item["expiresAt"];
  return [
    textOf(item["kind"]),
    textOf(item["id"]),
    purpose,
    typeof expires === "number"
      ? timestamp(expires)
      : textOf(expires) || "never",
  ];
}
