/** Columns that line up, and colour where a person watches. */
import { inOneLine } from "./output.ts";

/** Two spaces between columns, each as wide as its widest cell; the last one is not padded. */
export function table(
  header: readonly string[],
  given: readonly (readonly string[])[],
): string {
  const rows = given.map((row) => row.map(inOneLine));
  // Not by one call with all of them: a call has only so many arguments.
  const widths = header.map((name, column) =>
    rows.reduce(
      (width, row) => Math.max(width, plain(row[column] ?? "").length),
      name.length,
    ),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column === cells.length - 1
          ? cell
          : cell +
            " ".repeat(Math.max(0, (widths[column] ?? 0) - plain(cell).length)),
      )
      .join("  ")
      .trimEnd();
  return [header, ...rows].map((row) => `${line(row)}\n`).join("");
}

export type Colour = "red" | "green" | "yellow" | "cyan" | "dim" | "bold";

const CODES: Readonly<Record<Colour, readonly [number, number]>> = {
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
  dim: [2, 22],
  bold: [1, 22],
};

/** Paints text, or leaves it plain where output is piped. */
export type Paint = (colour: Colour, text: string) => string;

export function painter(colours: boolean): Paint {
  if (!colours) return (_colour, text) => text;
  return (colour, text) =>
    `\u001b[${CODES[colour][0]}m${text}\u001b[${CODES[colour][1]}m`;
}

const ESCAPES = /\u001b\[[0-9]+m/g;

function plain(text: string): string {
  return text.replaceAll(ESCAPES, "");
}

/** The largest unit and the one below it: 90061000 → "1d1h"; under a minute, seconds. */
export function age(ms: number): string {
  if (!Number.isFinite(ms)) return "-";
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const units: readonly (readonly [string, number])[] = [
    ["d", 86_400],
    ["h", 3600],
    ["m", 60],
    ["s", 1],
  ];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0s";
  let rest = seconds;
  let text = "";
  for (const [unit, size] of units.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text;
}

/** Where a person watches, unless NO_COLOR has a value: an empty one says nothing (no-color.org). */
export function showsColours(
  terminal: boolean,
  environment: NodeJS.ProcessEnv,
): boolean {
  return terminal && (environment["NO_COLOR"] ?? "") === "";
}
