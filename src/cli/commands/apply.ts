/** `wherry apply -f F…`: all resources are checked, here and by the API, before the first is changed. */
import type { Command } from "commander";
import { UserError } from "../../core/errors.ts";
import type { Resource } from "../../resources/envelope.ts";
import {
  ApiError,
  connectApi,
  isObject,
  withServer,
  type ApiAnswer,
  type ApiClient,
  type ServerOptions,
} from "../client.ts";
import type { CliContext } from "../context.ts";
import { findingLine, readManifests, type Manifests } from "../manifests.ts";
import { homeOf, pathOf, titleOf } from "../paths.ts";
import { listOption } from "../settings.ts";
import { painter } from "../table.ts";

interface ApplyOptions extends ServerOptions {
  readonly filename?: readonly string[];
  readonly dryRun?: boolean;
}

type Manifest = Manifests["resources"][number];

export function registerApply(program: Command, context: CliContext): void {
  withServer(program.command("apply"))
    .description("create or update the resources of files")
    .addOption(
      listOption(
        "-f, --filename <file>",
        "file, folder, or standard input (-); may be repeated",
      ),
    )
    .option("--dry-run", "check everything and change nothing")
    .action(async (options: ApplyOptions) => {
      if (options.filename === undefined)
        throw new UserError("what is to be applied? wherry apply -f FILE");
      // What lint warns of, the files do not hold; the mesh may: the API is asked below.
      const { resources } = await readManifests(context, options.filename);
      const paint = painter(context.colours);
      const api = await connectApi(context, options);
      await checkAll(api, resources);
      const doubtful: Manifest[] = [];
      for (const manifest of resources) {
        const { did, warnings } = await applyOne(
          api,
          manifest.resource,
          options.dryRun === true,
        );
        if (warnings.length > 0) doubtful.push(manifest);
        context.print(
          `${titleOf(manifest.resource)} ${paint(did === "unchanged" ? "dim" : "green", did)}${options.dryRun === true ? " (dry run)" : ""}\n`,
        );
      }
      if (options.dryRun === true) return;
      for (const manifest of doubtful)
        for (const warning of await stillDoubtful(api, manifest))
          context.complain(`${paint("yellow", "warning:")} ${warning}\n`);
    });
}

/** What there is to warn of now that all is applied: a Service that came later in the files has resolved a reference. */
async function stillDoubtful(
  api: ApiClient,
  { resource, file, line, column }: Manifest,
): Promise<string[]> {
  const { resourceVersion: _read, ...metadata } = resource.metadata;
  const { warnings } = await api.call("PUT", `${pathOf(resource)}?dryRun=All`, {
    ...resource,
    metadata,
  });
  return warnings.map(
    (warning) => `${file}:${line}:${column}: ${titleOf(resource)}: ${warning}`,
  );
}

/** Asks the API about every resource first, so that a fault in the last one leaves the first as it was. */
async function checkAll(
  api: ApiClient,
  manifests: readonly Manifest[],
): Promise<void> {
  const faults: string[] = [];
  for (const manifest of manifests) {
    try {
      await write(api, manifest.resource, true);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      faults.push(...faultLines(manifest, error));
    }
  }
  if (faults.length > 0)
    throw new UserError(`${faults.join("\n")}\nnothing was changed`);
}

/** Each cause at the line that it speaks of. */
function faultLines(manifest: Manifest, error: ApiError): string[] {
  const causes =
    error.causes.length > 0
      ? error.causes
      : [{ field: "", message: error.message }];
  return causes.map(({ field, message }) => {
    const { line, column } = manifest.locate(field);
    return findingLine({
      file: manifest.file,
      line,
      column,
      path: field,
      message,
      severity: "error",
    });
  });
}

async function applyOne(
  api: ApiClient,
  resource: Resource,
  dryRun: boolean,
): Promise<{
  readonly did: "created" | "configured" | "unchanged";
  readonly warnings: readonly string[];
}> {
  const { before, after } = await write(api, resource, dryRun);
  const { warnings } = after;
  if (before === undefined) return { did: "created", warnings };
  const same = contentOf(before) === contentOf(after.body);
  return { did: same ? "unchanged" : "configured", warnings };
}

/**
 * What is not there is created, whatever version the file says that it had: `get -o yaml` prints it, and the resource may have been
 * deleted since. What is there is replaced, and a version in the file must be the one that is there.
 */
async function write(
  api: ApiClient,
  resource: Resource,
  dryRun: boolean,
): Promise<{
  /** Undefined: it was not there. */
  readonly before: unknown;
  readonly after: ApiAnswer;
}> {
  const query = dryRun ? "?dryRun=All" : "";
  const before = await api.call("GET", pathOf(resource), undefined, [404]);
  return before.status === 404
    ? {
        before: undefined,
        after: await api.call("POST", `${homeOf(resource)}${query}`, resource),
      }
    : {
        before: before.body,
        after: await api.call("PUT", `${pathOf(resource)}${query}`, resource),
      };
}

/** What a person can change of a resource. */
function contentOf(body: unknown): string {
  if (!isObject(body)) return "";
  const metadata = isObject(body["metadata"]) ? body["metadata"] : {};
  return JSON.stringify([
    body["spec"],
    metadata["labels"],
    metadata["annotations"],
  ]);
}
