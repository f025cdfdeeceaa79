/** `wherry delete`: resources by kind and name, or those of a file. */
import type { Command } from "commander";
import { UserError } from "../../core/errors.ts";
import { DEFAULT_NAMESPACE } from "../../resources/envelope.ts";
import { connectApi, withServer, type ServerOptions } from "../client.ts";
import type { CliContext } from "../context.ts";
import { readManifests } from "../manifests.ts";
import { kindFor, pathOf, resourcePath, titleOf } from "../paths.ts";
import { listOption, option } from "../settings.ts";

interface DeleteOptions extends ServerOptions {
  readonly namespace: string;
  readonly filename?: readonly string[];
  readonly ignoreNotFound?: boolean;
}

export function registerDelete(program: Command, context: CliContext): void {
  withServer(program.command("delete"))
    .description("delete resources")
    .argument("[kind]", "kind, such as httproute")
    .argument("[names...]", "names of the resources")
    .addOption(
      listOption(
        "-f, --filename <file>",
        "resources of a file, a folder, or standard input (-); may be repeated",
      ),
    )
    .addOption(
      option(
        "-n, --namespace <name>",
        "namespace of the resources",
        DEFAULT_NAMESPACE,
      ),
    )
    .option(
      "--ignore-not-found",
      "do not fail for a resource that does not exist",
    )
    .action(
      async (
        kind: string | undefined,
        names: readonly string[],
        options: DeleteOptions,
      ) => {
        const targets = await targetsOf(context, kind, names, options);
        const api = await connectApi(context, options);
        for (const { path, title } of targets) {
          const { status } = await api.call("DELETE", path, undefined, [404]);
          if (status !== 404) context.print(`${title} deleted\n`);
          else if (options.ignoreNotFound !== true) {
            context.complain(`${title} is not there\n`);
            context.exitCode = 1;
          }
        }
      },
    );
}

interface Target {
  readonly path: string;
  readonly title: string;
}

async function targetsOf(
  context: CliContext,
  kind: string | undefined,
  names: readonly string[],
  options: DeleteOptions,
): Promise<Target[]> {
  if (options.filename !== undefined) {
    if (kind !== undefined)
      throw new UserError("specify either -f FILE or KIND NAME, not both");
    const manifests = await readManifests(context, options.filename);
    // The reverse of the order in which they were applied.
    return manifests.resources
      .map(({ resource }) => ({
        path: pathOf(resource),
        title: titleOf(resource),
      }))
      .reverse();
  }
  if (kind === undefined || names.length === 0)
    throw new UserError(
      'what is to go? "wherry delete KIND NAME…" or "wherry delete -f FILE"',
    );
  const definition = kindFor(kind);
  return names.map((name) => ({
    path: resourcePath(definition, options.namespace, name),
    title: `${definition.singular}/${name}`,
  }));
}
