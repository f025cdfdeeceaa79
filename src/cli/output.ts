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

/** What ends a line somewhere, or turns the order of what follows about (UAX 9). */
const TURNS = /[\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** What others wrote in one line of ours: it cannot begin another, nor show what is in it in another order. */
export function inOneLine(text: string): string {
  return text.replaceAll(/[\n\r]+/g, " ").replaceAll(TURNS, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** What a painter writes, or else a control character (C0, DEL, C1) that is neither the end of a line nor a tab. */
const CONTROL = /\u001b\[(?:1|2|22|3[1-69])m|[\0-\x08\x0b-\x1f\x7f-\x9f]/g;

/**
 * The text as a terminal may have it. Reasons, versions, names and annotations come from others, and could move the cursor or rewrite what
 * is above. Written as JSON and quoted YAML write them, so that these stay what they are.
 */
export function visible(text: string, colours: boolean): string {
  return text.replaceAll(CONTROL, (found) =>
    colours && found.length > 1 ? found : `${escaped(found)}${found.slice(1)}`,
  );
}
