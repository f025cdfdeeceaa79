/** `config/reference/cli.md`: every command with its arguments, options and examples, as commander knows them. */
import type { Argument } from "commander";
import { type Command, type Option } from "commander";
import type { CliContext } from "../../cli/context.ts";
import { examplesOf, wordsOf } from "../../cli/examples.ts";
import { makeProgram } from "../../cli/run.ts";
import { systemClock } from "../../core/clock.ts";
import { EXIT } from "../../core/errors.ts";
import { block, code, sentence, table, type Page } from "./markdown.ts";

/** For a program that is looked at and never run. */
const CONTEXT: CliContext = {
  clock: systemClock,
  environment: {},
  colours: false,
  print: () => undefined,
  complain: () => undefined,
  readInput: () => Promise.resolve(""),
  stop: new AbortController().signal,
  exitCode: 0,
};

const EXIT_CODES: Readonly<Record<keyof typeof EXIT, string>> = {
  done: "it did what it was asked, or ended in order because it was asked to",
  failed: "a command failed, or a part cannot start; its last line says why",
  damagedStore: "the control plane's database is damaged; nothing was changed",
  defect: "an error that nobody caught: a defect; it ended in order",
  stopped:
    "it was asked to end while it was starting, or was asked again: it ended at once",
};

/** All commands, registered and never run. */
export function referenceProgram(): Promise<Command> {
  return makeProgram(CONTEXT);
}

export async function cliPage(): Promise<Page> {
  const program = await referenceProgram();
  const commands = leavesOf(program);
  return {
    file: "cli.md",
    title: "Command line",
    body: `In a checkout, type \`npx wherry\` for \`wherry\`. \`wherry COMMAND --help\` shows what is below for one command.

An option is taken from the command line, then from its environment variable, then from the YAML file that \`--config\` names.
What a command acts on has no variable. Keys of that file are the options' long names. In an environment variable, the values of an option that may be repeated are separated by commas.

${table(
  ["command", "what it does"],
  commands.map((command) => [
    `[\`${nameOf(command)}\`](#${nameOf(command).replaceAll(" ", "-")})`,
    sentence(command.description()),
  ]),
)}
## Exit codes

[The guide](../guide/lifecycle.md#exit-codes) says what to do after each. \`wherry wait -- COMMAND\` ends with the code of the command.

${table(
  ["code", "what happened"],
  Object.entries(EXIT).map(([name, number]) => [
    String(number),
    EXIT_CODES[name as keyof typeof EXIT],
  ]),
)}
${commands.map(section).join("\n")}`,
  };
}

/** Commands that do something, those of the demo's own left out. */
export function leavesOf(command: Command): Command[] {
  const { commands } = command;
  if (commands.length === 0) return [command];
  const below = command
    .createHelp()
    .visibleCommands(command)
    .filter((each) => each.name() !== "help")
    .flatMap(leavesOf);
  const { parent, options } = command;
  return parent !== null && options.length > 0 ? [command, ...below] : below;
}

function section(command: Command): string {
  const usage = command.createHelp().commandUsage(command);
  const parts = [
    `## ${nameOf(command)}\n`,
    `${sentence(command.description())}\n`,
    block("sh", usage),
    argumentsOf(command),
    optionsOf(command),
    block("sh", examplesOf(command).join("\n")),
  ];
  return parts.filter((part) => part !== "").join("\n");
}

function argumentsOf({ registeredArguments }: Command): string {
  if (registeredArguments.length === 0) return "";
  return table(
    ["argument", "meaning"],
    registeredArguments.map((each) => [code(shown(each)), each.description]),
  );
}

function shown(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function optionsOf(command: Command): string {
  const options = command.options.filter(({ hidden }) => !hidden);
  if (options.length === 0) return "";
  return table(
    ["option", "environment", "default", "meaning"],
    options.map((option) => [
      code(option.flags),
      code(option.envVar ?? ""),
      code(defaultOf(option)),
      option.description,
    ]),
  );
}

/** A switch that takes something away is on by default, which its name says. */
function defaultOf({ defaultValue, negate }: Option): string {
  return negate || defaultValue === undefined ? "" : String(defaultValue);
}

function nameOf(command: Command): string {
  return `wherry ${wordsOf(command)}`;
}
