/** `wherry lint F…`: checks files with no mesh running, by the rules that the API applies. */
import type { Command } from "commander";
import { lintTexts } from "../../resources/lint.ts";
import {
  closuresIn,
  type Closure,
} from "../../resources/cross-checks/closures.ts";
import type { CliContext } from "../context.ts";
import { findingLine, readTexts } from "../manifests.ts";
import { asJson, outputOption } from "../output.ts";
import { painter } from "../table.ts";

export function registerLint(program: Command, context: CliContext): void {
  program
    .command("lint")
    .description("check resource files without a mesh")
    .argument("<files...>", "files, folders, or standard input (-)")
    .addOption(outputOption("json"))
    .action(
      async (
        files: readonly string[],
        options: { readonly output?: string },
      ) => {
        const { resources, findings } = lintTexts(
          await readTexts(context, files),
          { wall: context.clock.wall() },
        );
        const errors = findings.filter(
          (finding) => finding.severity === "error",
        ).length;
        const paint = painter(context.colours);
        if (options.output === "json") context.print(asJson(findings));
        else {
          for (const finding of findings)
            context.print(
              `${paint(finding.severity === "error" ? "red" : "yellow", finding.severity)} ${findingLine(finding)}\n`,
            );
          for (const closure of closuresIn(
            resources.map(({ resource }) => resource),
          ))
            context.print(`${paint("dim", "note")} ${closureLine(closure)}\n`);
          context.print(
            `${resources.length} resources read: ${errors} errors, ${findings.length - errors} warnings\n`,
          );
        }
        if (errors > 0) context.exitCode = 1;
      },
    );
}

function closureLine({ service, by }: Closure): string {
  const [only, another] = by;
  const last =
    another === undefined ? `; to delete ${only ?? ""} opens it again` : "";
  return `Service ${service} is closed by ALLOW ${by.join(", ")}: a call that no rule of an ALLOW matches is refused${last}`;
}
