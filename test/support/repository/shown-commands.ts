/** The commands that pages show, and whether an output is the one that is shown with them. */
import { blocksOf, readPage } from "./pages.ts";

export interface ShownCommand {
  /** PAGE:LINE of its block. */
  readonly at: string;
  /** One line, as a shell gets it. */
  readonly text: string;
  /** The lines below it; a line "…" stands for any number of lines. */
  readonly output: readonly string[];
}

/** Those in the fenced blocks of a page: behind "$ " in a console, every line of a script. */
export function shownCommands(page: string): ShownCommand[] {
  return blocksOf(readPage(page)).flatMap(({ language, text, line }) => {
    const at = `${page}:${line}`;
    if (language === "sh")
      return text
        .replaceAll("\\\n", " ")
        .split("\n")
        .filter((each) => each !== "")
        .map((each) => ({ at, text: each, output: [] }));
    if (language !== "console") return [];
    return text
      .split(/^\$ /m)
      .slice(1)
      .map((part) => {
        const [command = "", ...output] = part.trimEnd().split("\n");
        return { at, text: command, output };
      });
  });
}

/** The words of a `wherry` command, without redirections; undefined for another command. */
export function wherryWords(text: string): string[] | undefined {
  const [, line] = /^(?:npx )?wherry (.*)$/.exec(text) ?? [];
  return line === undefined
    ? undefined
    : [...line.replace(/ [<>] \S+$/, "").matchAll(/'([^']*)'|\S+/g)].map(
        ([word, quoted]) => quoted ?? word,
      );
}

/** Whether the lines are those that are shown; `masked` takes from a line what differs from run to run. */
export function isShown(
  { output }: ShownCommand,
  real: string,
  masked: (line: string) => string = (line) => line,
): boolean {
  const lines = real.trimEnd().split("\n").map(masked);
  let from = 0;
  let anywhere = false;
  for (const part of partsOf(output.map(masked))) {
    if (part === "any") {
      anywhere = true;
      continue;
    }
    const found = indexOf(lines, part, from);
    if (found < 0 || (!anywhere && found > from)) return false;
    from = found + part.length;
    anywhere = false;
  }
  return anywhere || from === lines.length;
}

/** Runs of lines, and "any" for each line "…". */
function partsOf(output: readonly string[]): ("any" | string[])[] {
  const parts: ("any" | string[])[] = [];
  for (const line of output) {
    const last = parts.at(-1);
    if (line === "…") parts.push("any");
    else if (Array.isArray(last)) last.push(line);
    else parts.push([line]);
  }
  return parts;
}

function indexOf(
  lines: readonly string[],
  part: readonly string[],
  from: number,
): number {
  for (let at = from; at + part.length <= lines.length; at += 1)
    if (part.every((line, index) => lines[at + index] === line)) return at;
  return -1;
}
