/** `wherry describe KIND NAME`: the resource, what became of it, and at which sidecars. */
import type { Command } from "commander";
import { stringify } from "yaml";
import { parseTimestamp } from "../../core/clock.ts";
import {
  DEFAULT_NAMESPACE,
  type Resource,
  type ShadowStatus,
} from "../../resources/envelope.ts";
import { resourceIn } from "../answers.ts";
import { connectApi, withServer, type ServerOptions } from "../client.ts";
import type { CliContext } from "../context.ts";
import { kindFor, resourcePath } from "../paths.ts";
import { inOneLine, outputOption, printOutput } from "../output.ts";
import { plainOption } from "../settings.ts";
import { age, painter, table, type Paint } from "../table.ts";

type DescribeOptions = ServerOptions & {
  readonly namespace: string;
  readonly output?: string;
};

export function registerDescribe(program: Command, context: CliContext): void {
  withServer(program.command("describe"))
    .description("show a resource, its conditions, and where it is in force")
    .argument("<kind>", "kind, such as httproute")
    .argument("<name>", "name of the resource")
    .addOption(outputOption("json"))
    .addOption(
      plainOption(
        "-n, --namespace <name>",
        "namespace of the resources",
        DEFAULT_NAMESPACE,
      ),
    )
    .action(async (kind: string, name: string, options: DescribeOptions) => {
      const api = await connectApi(context, options);
      const { body } = await api.call(
        "GET",
        resourcePath(kindFor(kind), options.namespace, name),
      );
      const resource = resourceIn(body);
      printOutput(context, options, resource, () =>
        describe(resource, context),
      );
    });
}

function describe(
  resource: Resource,
  { colours, clock }: Pick<CliContext, "colours" | "clock">,
): string {
  const paint = painter(colours);
  const { metadata } = resource;
  const facts: [string, string | undefined][] = [
    ["Name", metadata.name],
    ["Namespace", metadata.namespace],
    ["Kind", `${resource.kind} (${resource.apiVersion})`],
    ["Created", metadata.creationTimestamp],
    [
      "Generation",
      metadata.generation === undefined
        ? undefined
        : String(metadata.generation),
    ],
    ["Revision", metadata.resourceVersion],
    ["Labels", pairs(metadata.labels)],
    ["Annotations", pairs(metadata.annotations)],
  ];
  const known = facts.filter(
    (fact): fact is [string, string] => fact[1] !== undefined && fact[1] !== "",
  );
  const width = Math.max(...known.map(([label]) => label.length)) + 2;
  const head = known
    .map(
      ([label, value]) =>
        `${paint("bold", `${label}:`.padEnd(width))}${inOneLine(value)}\n`,
    )
    .join("");
  const spec = stringify(resource.spec, { lineWidth: 0 }).replaceAll(
    /^(?=.)/gm,
    "  ",
  );
  const conditions = resource.status?.conditions ?? [];
  const rows = conditions.map((condition) => {
    const good =
      (condition.status === "True") !== (condition.type === "Conflicted");
    return [
      condition.type,
      paint(
        good ? "green" : condition.status === "Unknown" ? "yellow" : "red",
        condition.status,
      ),
      condition.reason,
      condition.message,
    ];
  });
  const shadow = resource.status?.shadow;
  return `${head}${paint("bold", "Spec:")}\n${spec}${rows.length === 0 ? "" : `${paint("bold", "Conditions:")}\n${table(["TYPE", "STATUS", "REASON", "MESSAGE"], rows)}`}${shadow === undefined ? "" : shadowText(shadow, paint, clock.wall())}`;
}

/** What a policy on trial, or an AUDIT, would have done within the last hour. */
function shadowText(
  { calls, sidecars, since, callers, more }: ShadowStatus,
  paint: Paint,
  wall: number,
): string {
  const title = paint("bold", "Changes no verdict:");
  if (since === undefined)
    return `${title} no call of the last hour would be another, or matches\n`;
  const ago = (time: string): string => age(wall - parseTimestamp(time));
  const rows = callers.map((each) => [
    paint(each.effect === "refused" ? "red" : "yellow", each.effect),
    each.caller,
    `${each.method ?? "TCP"} ${each.path ?? (each.method === undefined ? "" : "(other paths)")}`.trim(),
    String(each.port),
    String(each.calls),
    `${ago(each.firstSeen)} ago`,
    `${ago(each.lastSeen)} ago`,
  ]);
  return `${title} ${calls} calls in the last hour, at ${sidecars} ${sidecars === 1 ? "sidecar" : "sidecars"}, the first ${ago(since)} ago\n${table(["WOULD BE", "CALLER", "REQUEST", "PORT", "CALLS", "FIRST", "LAST"], rows)}${more === 0 ? "" : `and ${more} more\n`}`;
}

function pairs(labels: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");
}
