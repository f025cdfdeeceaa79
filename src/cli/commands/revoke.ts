/** `wherry revoke`: certificates that nobody accepts any more, by identity, instance or serial number. */
import { hash } from "node:crypto";
import type { Command } from "commander";
import { parseTimestamp, timestamp } from "../../core/clock.ts";
import { parseDuration } from "../../core/duration.ts";
import { UserError } from "../../core/errors.ts";
import { isObject } from "../../core/text/json.ts";
import { normalSerial } from "../../identity/revoked.ts";
import {
  REVOCATION,
  type RevocationSpec,
} from "../../resources/revocation/schema.ts";
import { itemsIn, resourceIn } from "../answers.ts";
import {
  connectApi,
  textOf,
  withServer,
  type ApiClient,
  type ServerOptions,
} from "../client.ts";
import type { CliContext } from "../context.ts";
import { outputOption, printOutput } from "../output.ts";
import { collectionPath, resourcePath } from "../paths.ts";
import { table } from "../table.ts";

interface RevokeOptions extends ServerOptions {
  readonly identity?: string;
  readonly instance?: string;
  readonly serial?: string;
  readonly reason?: string;
  readonly until?: string;
  readonly undo?: boolean;
}

export function registerRevoke(program: Command, context: CliContext): void {
  const revoke = withServer(program.command("revoke"))
    .description(
      "revoke certificates: nobody accepts them any more, and live connections end within 5 s",
    )
    .option("--identity <spiffe-id>", "all certificates with this SPIFFE ID")
    .option(
      "--instance <namespace/name>",
      "all certificates of this instance, as wherry status names it",
    )
    .option("--serial <hex>", "the certificate with this serial number")
    .option("--reason <text>", "why, for people")
    .option(
      "--until <time>",
      "when it ends: a duration such as 48h, or a time such as 2026-12-24T00:00:00Z; default: with the last certificate that it concerns",
    )
    .option("--undo", "take the revocation back")
    .action(async (options: RevokeOptions) => {
      const api = await connectApi(context, options);
      await (options.undo === true
        ? undo(context, api, options)
        : put(context, api, options));
    });
  withServer(revoke.command("list"))
    .description("list what is revoked")
    .addOption(outputOption("json"))
    .action(async (_options: object, command: Command) =>
      list(context, command.optsWithGlobals()),
    );
}

async function put(
  context: CliContext,
  api: ApiClient,
  options: RevokeOptions,
): Promise<void> {
  const { identity, serial, reason } = options;
  const named = targetOf(options);
  const instance =
    options.instance ??
    (serial === undefined ? undefined : await holderOf(api, serial));
  const until = untilOf(context, options);
  const spec: RevocationSpec = {
    ...(identity === undefined ? {} : { identity }),
    ...(instance === undefined ? {} : { instance }),
    ...(serial === undefined ? {} : { serial }),
    ...(until === undefined ? {} : { until }),
    ...(reason === undefined ? {} : { reason }),
  };
  const name = nameFor(named);
  const { body, warnings } = await api.call(
    "PUT",
    resourcePath(REVOCATION, "", name),
    {
      apiVersion: REVOCATION.apiVersion,
      kind: REVOCATION.kind,
      metadata: { name },
      spec,
    },
  );
  resourceIn(body);
  for (const warning of warnings) context.complain(`${warning}\n`);
  context.print(`${named} is revoked (revocation/${name})\n`);
}

async function undo(
  context: CliContext,
  api: ApiClient,
  options: RevokeOptions,
): Promise<void> {
  const named = targetOf(options);
  const name = nameFor(named);
  const { status } = await api.call(
    "DELETE",
    resourcePath(REVOCATION, "", name),
    undefined,
    [404],
  );
  if (status === 404) {
    context.complain(`${named} is not revoked (revocation/${name})\n`);
    context.exitCode = 1;
  } else context.print(`${named} is not revoked any more\n`);
}

async function list(
  context: CliContext,
  options: ServerOptions & { readonly output?: string },
): Promise<void> {
  const api = await connectApi(context, options);
  const { body } = await api.call("GET", collectionPath(REVOCATION, ""));
  const items = itemsIn(body);
  printOutput(context, options, items, () =>
    table(["REVOKED", "SINCE", "UNTIL", "REASON", "NAME"], items.map(row)),
  );
}

function row({
  metadata,
  spec,
}: Readonly<Record<string, unknown>>): readonly string[] {
  const head = isObject(metadata) ? metadata : {};
  const said = isObject(spec) ? spec : {};
  const serial = textOf(said["serial"]);
  return [
    serial === ""
      ? textOf(said["instance"] ?? said["identity"])
      : `serial ${serial}`,
    textOf(head["creationTimestamp"]),
    textOf(said["until"]),
    textOf(said["reason"]),
    textOf(head["name"]),
  ];
}

/** What is revoked, as its name is made of it. */
function targetOf({ identity, instance, serial }: RevokeOptions): string {
  const given = [
    identity,
    instance,
    serial === undefined ? undefined : normalSerial(serial),
  ].filter((each) => each !== undefined);
  const [target] = given;
  if (target === undefined || given.length > 1)
    throw new UserError(
      "what is to be revoked? specify one of --identity, --instance and --serial",
    );
  return target;
}

/** The same for the same target, so that a second time changes the first, and --undo finds it. */
function nameFor(target: string): string {
  const readable = target
    .toLowerCase()
    .replace(/^spiffe:\/\//, "")
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(-40)
    .replaceAll(/^-|-$/g, "");
  return `${readable}-${hash("sha256", target).slice(0, 8)}`;
}

/** The instance that connected with the certificate; undefined where none did. */
async function holderOf(
  api: ApiClient,
  serial: string,
): Promise<string | undefined> {
  const { body } = await api.call("GET", "/status");
  const wanted = normalSerial(serial);
  const found = itemsIn(body, "sidecars").find(
    ({ certificateSerial }) => certificateSerial === wanted,
  );
  return found === undefined
    ? undefined
    : `${textOf(found["namespace"])}/${textOf(found["name"])}`;
}

function untilOf(
  { clock }: CliContext,
  { until }: RevokeOptions,
): string | undefined {
  if (until === undefined) return undefined;
  if (!Number.isNaN(parseTimestamp(until))) return until;
  const ms = parseDuration(until);
  if (ms === undefined || ms <= 0)
    throw new UserError(
      `invalid --until "${until}": expected a duration such as 48h, or a time such as 2026-12-24T00:00:00Z`,
    );
  return timestamp(clock.wall() + ms);
}
