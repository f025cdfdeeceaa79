/** What a command prints: JSON for programs where `-o json` asks for it, and text for people. */
import { Option } from "commander";
import type { CliContext } from "./context.ts";

/** `-o`: only what is listed is taken. */
export function outputOption(...forms: readonly string[]): Option {
  return new Option(
    "-o, --output <form>",
    `output format: ${forms.join(", ")}; default: for people`,
  ).choices(forms);
}

export function asJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** Prints the value as JSON where that is asked for, otherwise what `text` makes of it. */
export function printOutput(
  context: CliContext,
  { output }: { readonly output?: string },
  value: unknown,
  text: () => string,
): void {
  context.print(output === "json" ? asJson(value) : text());
}
