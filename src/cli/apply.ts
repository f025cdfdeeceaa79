/** `wherry apply -f F…`: all resources are checked, here and by the API, before the first is changed. */
import type { Command } from "commander";
import { UserError } from "../core/errors.ts";
import type { Resource } from "../resources/envelope.ts";
import {
  ApiError,
  connectApi,
  isObject,
  withServer,
  type ApiClient,
  type ServerOptions,
} from "./client.ts";
import type { CliContext } from "./context.ts";
import { findingLine, readManifests, type Manifests } from "./manifests.ts";
import { pathOf, titleOf } from "./paths.ts";
import { listOption } from "./settings.ts";
import { painter } from "./table.ts";

interface ApplyOptions extends ServerOptions {
  readonly filename?: readonly string[];
  readonly dryRun?: boolean;
}

type Manifest = Manifests["resources"][number];

export function registerApply(program: Command, context: CliContext): void {
  withServer(program.command("apply"))
    .description("create resources, or change them to what the files say")
    .addOption(
      listOption(
        "-f, --filename <file>",
        "a file, a folder, or standard input (-); may be given several times",
      ),
    )
    .option("--dry-run", "check everything, change nothing")
    .action(async (options: ApplyOptions) => {
      if (options.filename === undefined)
        throw new UserError("what is to be applied? wherry apply -f FILE");
      const { resources, warnings } = await readManifests(
        context,
        options.filename,
      );
      const paint = painter(context.colours);
      for (const warning of warnings)
        context.complain(
          `${paint("yellow", "warning")} ${findingLine(warning)}\n`,
        );
      const api = await connectApi(context, options);
      await checkAll(api, resources);
      for (const { resource } of resources) {
        const did = await applyOne(api, resource, options.dryRun === true);
        context.print(
          `${titleOf(resource)} ${paint(did === "unchanged" ? "dim" : "green", did)}${options.dryRun === true ? " (dry run)" : ""}\n`,
        );
      }
    });
}

/** Asks the API about every resource first, so that a fault in the last one leaves the first as it was. */
async function checkAll(
  api: ApiClient,
  manifests: readonly Manifest[],
): Promise<void> {
  const faults: string[] = [];
  for (const manifest of manifests) {
    try {
      await api.call(
        "PUT",
        `${pathOf(manifest.resource)}?dryRun=All`,
        manifest.resource,
      );
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
): Promise<"created" | "configured" | "unchanged"> {
  const before = await api.call("GET", pathOf(resource), undefined, [404]);
  const after = await api.call(
    "PUT",
    `${pathOf(resource)}${dryRun ? "?dryRun=All" : ""}`,
    resource,
  );
  if (before.status === 404) return "created";
  return contentOf(before.body) === contentOf(after.body)
    ? "unchanged"
    : "configured";
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
