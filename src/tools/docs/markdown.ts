/** Markdown as the formatter writes it: tables, code and headings for the generated pages. */

export interface Page {
  /** Below `config/reference/`. */
  readonly file: string;
  readonly title: string;
  /** All that follows the title. */
  readonly body: string;
}

const NOTICE =
  "<!-- Written by `npm run docs` from the code: change it there. -->";

/** The whole text of a page. */
export function pageText({ title, body }: Page): string {
  return `${NOTICE}\n\n# ${title}\n\n${body.trimEnd()}\n`;
}

/** Columns whose cells are all empty are left out. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const shown = head
    .map((_title, column) => column)
    .filter((column) => rows.some((row) => row[column] !== ""));
  const cells = [head, ...rows].map((row) =>
    shown.map((column) => escaped(row[column] ?? "")),
  );
  const widths = shown.map((_column, index) =>
    Math.max(3, ...cells.map((row) => row[index]?.length ?? 0)),
  );
  const line = (row: readonly string[], fill = " "): string =>
    `| ${row.map((cell, index) => cell.padEnd(widths[index] ?? 0, fill)).join(" | ")} |\n`;
  const [first = [], ...others] = cells;
  return (
    line(first) +
    line(
      shown.map(() => "-"),
      "-",
    ) +
    others.map((row) => line(row)).join("")
  );
}

/** "" stays "": an empty cell. */
export function code(text: string): string {
  return text === "" ? "" : `\`${text}\``;
}

export function codes(texts: readonly string[]): string {
  return texts.map(code).join(", ");
}

export function block(language: string, text: string): string {
  return `\`\`\`${language}\n${text.trimEnd()}\n\`\`\`\n`;
}

/** With a capital letter and a full stop. */
export function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** "1,024" */
export function count(number: number): string {
  return number.toLocaleString("en-US");
}

/** The largest binary unit that gives a whole number. */
export function bytes(number: number): string {
  if (number % 1_048_576 === 0) return `${count(number / 1_048_576)} MiB`;
  if (number % 1024 === 0) return `${count(number / 1024)} KiB`;
  return `${count(number)} bytes`;
}

/** From milliseconds. */
export function time(ms: number): string {
  if (ms % 3_600_000 === 0 && ms > 3_600_000) return `${ms / 3_600_000} h`;
  if (ms % 60_000 === 0 && ms > 60_000) return `${ms / 60_000} min`;
  return ms < 1000 ? `${ms} ms` : `${ms / 1000} s`;
}

export function perSecond(number: number): string {
  return `${count(number)} a second`;
}

function escaped(cell: string): string {
  return cell.replaceAll("|", String.raw`\|`);
}
