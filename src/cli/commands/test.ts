/** `wherry test FILE…`: runs a table of requests against resource files with no mesh running, by the evaluator that the sidecars run. */
import type { Command } from "commander";
import { messageOf, UserError } from "../../core/errors.ts";
import { lookupIn } from "../../policy/explain/decision.ts";
import { CompileError } from "../../policy/compile/compile.ts";
import { formatKey, keyOf } from "../../resources/envelope.ts";
import { withAssumedWorkloads } from "../asked/assumed-workloads.ts";
import type { CliContext } from "../context.ts";
import {
  calleesOf,
  callerFor,
  explainRequest,
  type World,
} from "../explaining.ts";
import { placeIn } from "../explain-text.ts";
import { findingLine } from "../manifests.ts";
import { outputOption } from "../output.ts";
import { painter } from "../table.ts";
import { differences } from "../test/compare.ts";
import { readTestFile, type CallTest, type TestFile } from "../test/file.ts";
import {
  jsonReport,
  junitReport,
  passedOf,
  textReport,
  type TestResult,
} from "../test/report.ts";

/** Tests that fail end with 1; a file that cannot be used ends with this. */
const BAD_FILE = 2;

export function registerTest(program: Command, context: CliContext): void {
  program
    .command("test")
    .description(
      "run a table of requests with expected results against resource files, without a mesh",
    )
    .argument("<files...>", "test files in YAML, with resources and tests")
    .addOption(outputOption("text", "json", "junit"))
    .action(
      async (
        files: readonly string[],
        options: { readonly output?: string },
      ) => {
        const paint = painter(context.colours);
        try {
          const results: TestResult[] = [];
          for (const file of files)
            results.push(
              ...runFile(await readTestFile(context, file), context),
            );
          context.print(report(results, options.output, context.colours));
          if (passedOf(results) < results.length) context.exitCode = 1;
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
          context.complain(`${paint("red", "error:")} ${error.message}\n`);
          context.exitCode = BAD_FILE;
        }
      },
    );
}

function report(
  results: readonly TestResult[],
  form: string | undefined,
  colours: boolean,
): string {
  switch (form) {
    case "json":
      return jsonReport(results);
    case "junit":
      return junitReport(results);
    default:
      return textReport(results, colours);
  }
}

function runFile(source: TestFile, context: CliContext): TestResult[] {
  const paint = painter(context.colours);
  for (const finding of source.warnings)
    context.complain(
      `${paint("yellow", "warning:")} ${findingLine(finding)}\n`,
    );
  const world: World = {
    resources: withAssumedWorkloads(
      source.resources.map(({ resource }) => resource),
    ),
    version: { store: "files", revision: 0, digest: "" },
  };
  const run = runnerOf(world, source);
  return source.tests.map((test) => {
    try {
      return run(test);
    } catch (error) {
      if (!(error instanceof UserError || error instanceof CompileError))
        throw error;
      throw new UserError(`${source.file}:${test.line}: ${messageOf(error)}`);
    }
  });
}

function runnerOf(
  world: World,
  { file, resources, wall }: TestFile,
): (test: CallTest) => TestResult {
  const place = placeIn(resources);
  const find = lookupIn(world.resources);
  const calleeOf = calleesOf(world);
  const known = new Set(
    world.resources.map((resource) => formatKey(keyOf(resource))),
  );
  const callerOf = callerFor(world);
  return (test) => {
    const { from, workload, ...request } = test.request;
    if (workload !== undefined && !known.has(`Workload ${workload}`))
      throw new UserError(
        `request.workload: no Workload ${workload} is in the resources`,
      );
    const explanation = explainRequest({
      request,
      caller: callerOf(from, request.url),
      calleeOf,
      workload,
      wall,
    });
    return {
      file,
      test,
      explanation,
      differences: differences(test.expect, explanation, find),
      place,
    };
  };
}
