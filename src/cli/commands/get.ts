/** `wherry get KIND [NAME]`: resources as a table, as YAML, as JSON. */
import type { Command } from "commander";
import { stringify } from "yaml";
import { parseTimestamp, type Clock } from "../../core/clock.ts";
import { DEFAULT_NAMESPACE, type Resource } from "../../resources/envelope.ts";
import type { KindDefinition } from "../../resources/registry.ts";
import { itemsIn, resourceIn } from "../answers.ts";
import {
  connectApi,
  withServer,
  type ApiClient,
  type ServerOptions,
} from "../client.ts";
import { columnsOf } from "../columns.ts";
import type { CliContext } from "../context.ts";
import { collectionPath, kindFor, resourcePath, titleOf } from "../paths.ts";
import { asJson, outputOption } from "../output.ts";
import { plainOption } from "../settings.ts";
import { age, table } from "../table.ts";

interface GetOptions extends ServerOptions {
  readonly namespace: string;
  readonly allNamespaces?: boolean;
  readonly output?: string;
  readonly selector?: string;
}

export function registerGet(program: Command, context: CliContext): void {
  withServer(program.command("get"))
    .description("show resources")
    .argument("<kind>", "kind, such as services, httproutes or tp")
    .argument("[name]", "name of one resource")
    .addOption(
      plainOption(
        "-n, --namespace <name>",
        "namespace of the resources",
        DEFAULT_NAMESPACE,
      ),
    )
    .option("-A, --all-namespaces", "resources of every namespace")
    .option(
      "-l, --selector <labels>",
      "resources with these labels, such as app=web,version!=v2",
    )
    .addOption(outputOption("wide", "yaml", "json", "name"))
    .action(
      async (kind: string, name: string | undefined, options: GetOptions) => {
        const definition = kindFor(kind);
        const api = await connectApi(context, options);
        if (name !== undefined) {
          const { body } = await api.call(
            "GET",
            resourcePath(definition, options.namespace, name),
          );
          context.print(
            render(
              definition,
              [resourceIn(body)],
              options,
              context.clock,
              false,
            ),
          );
          return;
        }
        const resources = await listResources(
          api,
          definition,
          options.allNamespaces === true ? undefined : options.namespace,
          options.selector,
        );
        if (
          resources.length === 0 &&
          (options.output === undefined || options.output === "wide")
        ) {
          const where =
            definition.namespaced && options.allNamespaces !== true
              ? ` in namespace ${options.namespace} (-A looks in all)`
              : "";
          context.complain(`no ${definition.plural}${where}\n`);
          return;
        }
        context.print(
          render(definition, resources, options, context.clock, true),
        );
      },
    );
}

/** All of a kind, in one namespace or in every one. */
export async function listResources(
  api: ApiClient,
  kind: KindDefinition,
  namespace: string | undefined,
  selector?: string,
): Promise<Resource[]> {
  const query =
    selector === undefined
      ? ""
      : `?labelSelector=${encodeURIComponent(selector)}`;
  const { body } = await api.call(
    "GET",
    `${collectionPath(kind, namespace)}${query}`,
  );
  return itemsIn(body).map(resourceIn);
}

function render(
  kind: KindDefinition,
  resources: readonly Resource[],
  options: GetOptions,
  clock: Clock,
  list: boolean,
): string {
  switch (options.output) {
    case "json":
      return asJson(
        list
          ? { apiVersion: "v1", kind: "List", items: resources }
          : resources[0],
      );
    case "yaml":
      return resources
        .map((resource) => stringify(resource, { lineWidth: 0 }))
        .join("---\n");
    case "name":
      return resources.map((resource) => `${titleOf(resource)}\n`).join("");
    default:
      return resourceTable(
        kind,
        resources,
        options.output === "wide",
        options.allNamespaces === true,
        clock,
      );
  }
}

function resourceTable(
  kind: KindDefinition,
  resources: readonly Resource[],
  wide: boolean,
  everywhere: boolean,
  clock: Clock,
): string {
  const columns = columnsOf(kind, wide);
  const namespaced = everywhere && kind.namespaced;
  const header = [
    ...(namespaced ? ["NAMESPACE"] : []),
    "NAME",
    ...columns.map(([name]) => name),
    "AGE",
  ];
  const rows = resources.map((resource) => [
    ...(namespaced ? [resource.metadata.namespace ?? ""] : []),
    resource.metadata.name,
    ...columns.map(([, value]) => value(resource)),
    age(
      clock.wall() - parseTimestamp(resource.metadata.creationTimestamp ?? ""),
    ),
  ]);
  return table(header, rows);
}
