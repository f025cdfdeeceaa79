/** `wherry describe KIND NAME`: the resource, what became of it, and at which sidecars. */
import type { Command } from "commander";
import { stringify } from "yaml";
import { DEFAULT_NAMESPACE, type Resource } from "../../resources/envelope.ts";
import { connectApi, withServer, type ServerOptions } from "../client.ts";
import type { CliContext } from "../context.ts";
import { kindFor, resourcePath } from "../paths.ts";
import { option } from "../settings.ts";
import { painter, table } from "../table.ts";

export function registerDescribe(program: Command, context: CliContext): void {
  withServer(program.command("describe"))
    .description("show a resource, its conditions, and where it is in force")
    .argument("<kind>", "kind, such as httproute")
    .argument("<name>", "name of the resource")
    .addOption(
      option(
        "-n, --namespace <name>",
        "namespace of the resources",
        DEFAULT_NAMESPACE,
      ),
    )
    .action(
      async (
        kind: string,
        name: string,
        options: ServerOptions & { readonly namespace: string },
      ) => {
        const api = await connectApi(context, options);
        const { body } = await api.call(
          "GET",
          resourcePath(kindFor(kind), options.namespace, name),
        );
        context.print(describe(body as Resource, context.colours));
      },
    );
}

function describe(resource: Resource, colours: boolean): string {
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
        `${paint("bold", `${label}:`.padEnd(width))}${value}\n`,
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
  return `${head}${paint("bold", "Spec:")}\n${spec}${rows.length === 0 ? "" : `${paint("bold", "Conditions:")}\n${table(["TYPE", "STATUS", "REASON", "MESSAGE"], rows)}`}`;
}

function pairs(labels: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");
}
