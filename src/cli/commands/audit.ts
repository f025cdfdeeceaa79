/** `wherry audit`: what was done to the mesh, by which token or certificate, from where, and which fields changed. */
import { Option, type Command } from "commander";
import { timestamp } from "../../core/clock.ts";
import { parseDuration } from "../../core/duration.ts";
import { UserError } from "../../core/errors.ts";
import type { AuditEntry } from "../../control-plane/audit/audit.ts";
import type { FieldChange } from "../../control-plane/audit/differences.ts";
import { itemsIn } from "../answers.ts";
import {
  connectApi,
  withServer,
  type ApiClient,
  type ServerOptions,
} from "../client.ts";
import type { CliContext } from "../context.ts";
import { inOneLine, outputOption, printOutput } from "../output.ts";
import { kindFor } from "../paths.ts";
import { table } from "../table.ts";

interface AuditOptions extends ServerOptions {
  readonly by?: string;
  readonly request?: string;
  readonly verb?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly since?: string;
  readonly limit: string;
  readonly output?: string;
}

/** The response of `GET /audit`. */
interface Page {
  readonly items: readonly AuditEntry[];
  readonly next?: number;
}

/** Entries that the API gives at once. */
const PAGE = 500;
/** Fields that a line names; `-o wide` has all, with their values. */
const MOST_NAMED = 3;

export function registerAudit(program: Command, context: CliContext): void {
  withServer(program.command("audit"))
    .description(
      "show what was done to the mesh: when, by which token or certificate, from where, and which fields changed",
    )
    .option("--by <author>", "only of this author, such as ApiToken/ID")
    .option("--request <id>", "only what one request did")
    .option("--verb <verb>", "only this, such as create, update or delete")
    .option("--kind <kind>", "only of this kind")
    .option("-n, --namespace <name>", "only in this namespace")
    .option("--name <name>", "only of this name")
    .option("--since <duration>", "only of the last, such as 2h")
    .addOption(
      new Option("--limit <count>", "entries at most, the newest").default(
        "100",
      ),
    )
    .addOption(outputOption("wide", "json"))
    .action(async (options: AuditOptions) => {
      const api = await connectApi(context, options);
      const entries = await readEntries(
        api,
        queryOf(options, context),
        options,
      );
      printOutput(context, options, entries, () =>
        options.output === "wide" ? describeAll(entries) : rows(entries),
      );
    });
}

/** Throws UserError. */
function queryOf(
  options: AuditOptions,
  { clock }: CliContext,
): Record<string, string> {
  const { by, request, verb, kind, namespace, name, since } = options;
  const age = since === undefined ? undefined : parseDuration(since);
  if (since !== undefined && age === undefined)
    throw new UserError(
      `invalid --since ${since}: expected a duration such as 30m or 2h`,
    );
  return {
    ...(by === undefined ? {} : { by }),
    ...(request === undefined ? {} : { request }),
    ...(verb === undefined ? {} : { verb }),
    ...(kind === undefined ? {} : { kind: kindIn(kind) }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(age === undefined
      ? {}
      : { since: String(Math.max(0, Math.floor(clock.wall() - age))) }),
  };
}

/** The log has kinds besides those of resources, such as ApiToken, by their own names. */
function kindIn(text: string): string {
  return /^[A-Z]/.test(text) ? text : kindFor(text).kind;
}

async function readEntries(
  api: ApiClient,
  query: Record<string, string>,
  { limit }: AuditOptions,
): Promise<readonly AuditEntry[]> {
  const most = Number(limit);
  if (!Number.isInteger(most) || most < 1)
    throw new UserError(
      `invalid --limit ${limit}: expected a whole number from 1 on`,
    );
  const entries: AuditEntry[] = [];
  let next: number | undefined;
  do {
    const parameters = new URLSearchParams({
      ...query,
      limit: String(Math.min(PAGE, most - entries.length)),
      ...(next === undefined ? {} : { before: String(next) }),
    });
    const { body } = await api.call("GET", `/audit?${parameters.toString()}`);
    itemsIn(body);
    const page = body as Page;
    if (next !== undefined && !((page.next ?? 0) < next))
      throw new UserError(
        "the audit log leads back to where it was: is that the control plane's API?",
      );
    entries.push(...page.items);
    next = page.next;
  } while (next !== undefined && entries.length < most);
  return entries;
}

function rows(entries: readonly AuditEntry[]): string {
  if (entries.length === 0) return "nothing was done that matches\n";
  return table(
    ["TIME", "BY", "FROM", "VERB", "WHAT", "REVISION", "CHANGES"],
    entries.map((entry) => [
      timestamp(entry.at),
      entry.by,
      entry.from,
      entry.verb,
      titleOf(entry),
      entry.revision === undefined ? "-" : String(entry.revision),
      summaryOf(entry),
    ]),
  );
}

function titleOf({ kind, namespace, name }: AuditEntry): string {
  return `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`;
}

function summaryOf({
  changes = [],
  moreChanges = 0,
  note,
  verb,
}: AuditEntry): string {
  if (note !== undefined) return note;
  if (verb !== "update") return "";
  const named = changes.slice(0, MOST_NAMED).map(({ path }) => path);
  const more = changes.length - named.length + moreChanges;
  return `${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function describeAll(entries: readonly AuditEntry[]): string {
  return entries
    .map((entry) => {
      const { at, by, from, verb, revision, request, note } = entry;
      const { changes = [], moreChanges = 0 } = entry;
      return [
        `${timestamp(at)} ${verb} ${titleOf(entry)}${revision === undefined ? "" : ` at revision ${revision}`}`,
        `  by ${by} from ${from}, request ${request}`,
        ...(note === undefined ? [] : [`  ${note}`]),
        ...changes.map((change) => `  ${describeChange(change)}`),
        ...(moreChanges === 0 ? [] : [`  and ${moreChanges} more`]),
      ];
    })
    .flat()
    .map((line) => `${inOneLine(line)}\n`)
    .join("");
}

function describeChange({ path, before, after, hidden }: FieldChange): string {
  if (hidden === true) return `${path}: (left out)`;
  return `${path}: ${valueText(before)} → ${valueText(after)}`;
}

function valueText(value: unknown): string {
  return value === undefined ? "(nothing)" : JSON.stringify(value);
}
