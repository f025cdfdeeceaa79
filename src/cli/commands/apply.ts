/** `wherry apply -f F…`: all resources are checked here, and written by the API in as few transactions as they fit in. */
import type { Command } from "commander";
import { UserError } from "../../core/errors.ts";
import {
  causeLine,
  faultLines,
  sendBatch,
  unchangedText,
  type Manifest,
  type Sent,
} from "../applying.ts";
import { batchesOf, LARGEST } from "../batches.ts";
import {
  connectApi,
  withServer,
  type ApiClient,
  type ServerOptions,
} from "../client.ts";
import type { CliContext } from "../context.ts";
import { readManifests } from "../manifests.ts";
import { titleOf } from "../paths.ts";
import { plainListOption } from "../settings.ts";
import { painter } from "../table.ts";

interface ApplyOptions extends ServerOptions {
  readonly filename?: readonly string[];
  readonly dryRun?: boolean;
  readonly atomic?: boolean;
}

export function registerApply(program: Command, context: CliContext): void {
  withServer(program.command("apply"))
    .description("create or update the resources of files")
    .addOption(
      plainListOption(
        "-f, --filename <file>",
        "file, folder, or standard input (-); may be repeated",
      ),
    )
    .option("--dry-run", "check everything and change nothing")
    .option(
      "--atomic",
      "change nothing if anything is refused; without it, that holds for each namespace",
    )
    .action(async (options: ApplyOptions) => {
      if (options.filename === undefined)
        throw new UserError("what is to be applied? wherry apply -f FILE");
      // What lint warns of, the files do not hold; the mesh may: the API is asked below.
      const { resources } = await readManifests(context, options.filename);
      const batches = batchesOf(resources);
      if (options.atomic === true && batches.length > 1)
        throw new UserError(
          `--atomic needs one request, but ${resources.length} resources need ${batches.length}: a request has at most ${LARGEST.items} resources and ${LARGEST.bytes} bytes. Apply fewer at a time, or apply without --atomic`,
        );
      const api = await connectApi(context, options);
      const applied: Sent[] = [];
      try {
        await applyAll(context, api, batches, options, applied);
      } catch (error) {
        // What was refused before another request failed is reported all the same.
        for (const line of applied.flatMap(faultLines))
          context.complain(`${line}\n`);
        throw error;
      }
      const faults = applied.flatMap(faultLines);
      if (faults.length > 0)
        throw new UserError(`${faults.join("\n")}\n${unchangedText(applied)}`);
    });
}

async function applyAll(
  context: CliContext,
  api: ApiClient,
  batches: readonly (readonly Manifest[])[],
  { dryRun = false, atomic = false }: ApplyOptions,
  applied: Sent[],
): Promise<void> {
  const paint = painter(context.colours);
  const several = batches.length > 1;
  const count = batches.flat().length;
  if (several)
    context.complain(
      `${count} resources go in ${batches.length} requests: each applies what it has of a namespace as a whole, or not at all\n`,
    );
  let sent = 0;
  for (const batch of batches) {
    const done = await sendBatch(api, batch, { verb: "apply", dryRun, atomic });
    applied.push(done);
    for (const [index, manifest] of batch.entries()) {
      const did = done.outcomes[index];
      if (did === undefined) continue;
      context.print(
        `${titleOf(manifest.resource)} ${paint(did === "unchanged" ? "dim" : "green", did)}${dryRun ? " (dry run)" : ""}\n`,
      );
    }
    sent += batch.length;
    if (several) context.complain(`${sent} of ${count}\n`);
  }
  // What comes in a later request is not there for a dry run of an earlier one.
  if (several && dryRun) return;
  const warnings = several
    ? await stillDoubtful(api, applied)
    : applied.flatMap(warningLines);
  for (const line of warnings)
    context.complain(`${paint("yellow", "warning:")} ${line}\n`);
}

/** What there is to warn of now that all is applied: a later request may have brought what an earlier one lacked. */
async function stillDoubtful(
  api: ApiClient,
  applied: readonly Sent[],
): Promise<string[]> {
  const doubtful = applied.flatMap(({ batch, warnings }) =>
    batch.filter((_manifest, index) =>
      warnings.some((warning) => warning.index === index),
    ),
  );
  const lines: string[] = [];
  for (const batch of batchesOf(doubtful.map(withoutVersion))) {
    const again = await sendBatch(api, batch, {
      verb: "apply",
      dryRun: true,
      atomic: false,
    });
    lines.push(...warningLines(again));
  }
  return lines;
}

/** It has another version since it was applied. */
function withoutVersion(manifest: Manifest): Manifest {
  const { resource } = manifest;
  const { resourceVersion: _read, ...metadata } = resource.metadata;
  return { ...manifest, resource: { ...resource, metadata } };
}

function warningLines({ batch, warnings }: Sent): string[] {
  return warnings.map((warning) => causeLine(batch, warning));
}
