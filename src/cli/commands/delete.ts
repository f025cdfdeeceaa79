/** `wherry delete`: resources by kind and name, or those of a file. */
import type { Command } from "commander";
import { UserError } from "../../core/errors.ts";
import { DEFAULT_NAMESPACE, type Resource } from "../../resources/envelope.ts";
import { WORKLOAD } from "../../resources/workload/schema.ts";
import {
  faultLines,
  sendBatch,
  unchangedText,
  type Sent,
} from "../applying.ts";
import { batchesOf } from "../batches.ts";
import { connectApi, withServer, type ServerOptions } from "../client.ts";
import type { CliContext } from "../context.ts";
import { readManifests } from "../manifests.ts";
import { kindFor, resourcePath, titleOf } from "../paths.ts";
import { plainListOption, plainOption } from "../settings.ts";

interface DeleteOptions extends ServerOptions {
  readonly namespace: string;
  readonly filename?: readonly string[];
  readonly ignoreNotFound?: boolean;
  readonly dryRun?: boolean;
  readonly deregisterOnly?: boolean;
}

export function registerDelete(program: Command, context: CliContext): void {
  withServer(program.command("delete"))
    .description("delete resources")
    .argument("[kind]", "kind, such as httproute")
    .argument("[names...]", "names of the resources")
    .addOption(
      plainListOption(
        "-f, --filename <file>",
        "resources of a file, a folder, or standard input (-); may be repeated",
      ),
    )
    .addOption(
      plainOption(
        "-n, --namespace <name>",
        "namespace of the resources",
        DEFAULT_NAMESPACE,
      ),
    )
    .option(
      "--ignore-not-found",
      "do not fail for a resource that does not exist",
    )
    .option("--dry-run", "say what would go, and delete nothing")
    .option(
      "--deregister-only",
      "of a workload: its instance keeps its certificate, and may register again",
    )
    .action(
      async (
        kind: string | undefined,
        names: readonly string[],
        options: DeleteOptions,
      ) => {
        if (options.filename !== undefined && options.deregisterOnly === true)
          throw new UserError("--deregister-only takes KIND NAME, not -f FILE");
        if (options.filename === undefined)
          await deleteNamed(context, kind, names, options);
        else if (kind === undefined)
          await deleteListed(context, options.filename, options);
        else
          throw new UserError("specify either -f FILE or KIND NAME, not both");
      },
    );
}

async function deleteNamed(
  context: CliContext,
  kind: string | undefined,
  names: readonly string[],
  options: DeleteOptions,
): Promise<void> {
  if (kind === undefined || names.length === 0)
    throw new UserError(
      'what is to go? "wherry delete KIND NAME…" or "wherry delete -f FILE"',
    );
  const definition = kindFor(kind);
  const api = await connectApi(context, options);
  if (options.deregisterOnly === true && definition !== WORKLOAD)
    throw new UserError("--deregister-only is for workloads");
  const query = queryOf(options);
  for (const name of names) {
    const path = resourcePath(definition, options.namespace, name);
    const { status, warnings } = await api.call(
      "DELETE",
      `${path}${query}`,
      undefined,
      [404],
    );
    const title = `${definition.singular}/${name}`;
    tell(context, title, status !== 404, options);
    for (const text of warnings)
      context.complain(`warning: ${title} ${text}\n`);
  }
}

function queryOf({ dryRun, deregisterOnly }: DeleteOptions): string {
  const query = new URLSearchParams({
    ...(dryRun === true ? { dryRun: "All" } : {}),
    ...(deregisterOnly === true ? { deregisterOnly: "true" } : {}),
  });
  return query.size === 0 ? "" : `?${query.toString()}`;
}

/** In as few requests as they fit in. What may not go keeps what there is of its namespace; what is not there keeps nothing. */
async function deleteListed(
  context: CliContext,
  files: readonly string[],
  options: DeleteOptions,
): Promise<void> {
  const { resources } = await readManifests(context, files);
  // The reverse of the order in which they were applied.
  const targets = resources
    .map((manifest) => ({ ...manifest, resource: keyOnly(manifest.resource) }))
    .reverse();
  const api = await connectApi(context, options);
  const { dryRun = false } = options;
  const sent: Sent[] = [];
  try {
    for (const batch of batchesOf(targets)) {
      const done = await sendBatch(api, batch, {
        verb: "delete",
        dryRun,
        atomic: false,
      });
      sent.push(done);
      for (const [index, { resource }] of batch.entries()) {
        const outcome = done.outcomes[index];
        if (outcome !== undefined)
          tell(context, titleOf(resource), outcome !== "missing", options);
      }
      for (const { index = 0, message } of done.warnings) {
        const resource = batch[index]?.resource;
        const title = resource === undefined ? "" : `${titleOf(resource)} `;
        context.complain(`warning: ${title}${message}\n`);
      }
    }
  } catch (error) {
    // What was refused before another request failed is reported all the same.
    for (const line of sent.flatMap(faultLines)) context.complain(`${line}\n`);
    throw error;
  }
  const faults = sent.flatMap(faultLines);
  if (faults.length > 0)
    throw new UserError(`${faults.join("\n")}\n${unchangedText(sent)}`);
}

function keyOnly({ apiVersion, kind, metadata }: Resource): Resource {
  const { name, namespace } = metadata;
  return {
    apiVersion,
    kind,
    metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
    spec: {},
  };
}

function tell(
  context: CliContext,
  title: string,
  wasThere: boolean,
  { dryRun = false, ignoreNotFound = false }: DeleteOptions,
): void {
  if (wasThere)
    context.print(`${title} deleted${dryRun ? " (dry run)" : ""}\n`);
  else if (!ignoreNotFound) {
    context.complain(`${title} is not there\n`);
    context.exitCode = 1;
  }
}
