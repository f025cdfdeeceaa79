/** What the command lines of all benchmarks have in common: a mistake in them is a sentence with the usage under it. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { UserError, messageOf } from "../src/core/errors.ts";

/** Throws UserError. */
export function readArguments<
  const O extends NonNullable<ParseArgsConfig["options"]>,
>(
  argv: readonly string[],
  options: O,
  usage: string,
): ReturnType<
  typeof parseArgs<{ args: string[]; allowPositionals: true; options: O }>
> {
  try {
    return parseArgs({ args: [...argv], allowPositionals: true, options });
  } catch (thrown) {
    throw new UserError(`${messageOf(thrown)}\n\n${usage}`);
  }
}

/** Runs a benchmark's main; what a person can put right is a sentence, and all else has its stack. */
export async function runMain(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (thrown) {
    const text =
      thrown instanceof UserError || !(thrown instanceof Error)
        ? messageOf(thrown)
        : (thrown.stack ?? thrown.message);
    process.stderr.write(`${text}\n`);
    process.exitCode = 1;
  }
}

/** Throws UserError. */
export function readNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!(value >= least))
    throw new UserError(
      `invalid --${name} ${text}: expected a number of at least ${least}`,
    );
  return value;
}

/** Throws UserError. */
export function readWhole(name: string, text: string, least: number): number {
  const value = readNumber(name, text, least);
  if (!Number.isInteger(value))
    throw new UserError(
      `invalid --${name} ${text}: expected a whole number of at least ${least}`,
    );
  return value;
}
