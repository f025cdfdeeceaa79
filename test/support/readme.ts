/** The tables of a page as a test reads them, by the heading that they stand under. */
/** The cells of the rows that follow a heading, up to the next of the same level, without those of the table's head. */
export function tableAfter(text: string, heading: string): string[][] {
  const section = text.slice(text.indexOf(heading) + heading.length);
  const end = section.search(/^## /m);
  const rows = section
    .slice(0, end < 0 ? undefined : end)
    .split("\n")
    .filter((line) => line.startsWith("|"));
  return rows.slice(2).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}
