/** The pages of the repository as tests read them: their text, links, anchors, fenced blocks and commands. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..", "..", "..");

export interface Block {
  /** The word behind the fence: "yaml", "sh", "console", "json". */
  readonly language: string;
  readonly text: string;
  /** Of the fence, from 1. */
  readonly line: number;
}

/** Every page that is written by hand or by `npm run docs`: paths from the repository's root. */
export const PAGES: readonly string[] = globSync(
  ["*.md", "{bench,certs,config,src,test,.github}/**/*.md"],
  { cwd: ROOT, exclude: ["bench/results/*.md"] },
).sort();

/** The pages for people who run a mesh. */
export const GUIDE: readonly string[] = [
  "README.md",
  ...PAGES.filter((page) => page.startsWith("config/guide/")),
];

export function readPage(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

export function blocksOf(text: string): Block[] {
  return [...text.matchAll(FENCE)].map(({ index, groups = {} }) => ({
    language: groups["language"] ?? "",
    text: outdent(groups["text"] ?? "", groups["indent"] ?? ""),
    line: text.slice(0, index).split("\n").length,
  }));
}

/** The text without what stands in fenced blocks: links, headings and words are looked for here. */
export function proseOf(text: string): string {
  return text.replaceAll(FENCE, "");
}

/** The targets of a page's links, external ones left out. */
export function linksOf(text: string): string[] {
  return [...proseOf(text).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target));
}

/** The names by which a link reaches a heading, as GitHub makes them. */
export function anchorsOf(text: string): ReadonlySet<string> {
  const seen = new Map<string, number>();
  const anchors = [...proseOf(text).matchAll(/^#{1,6} (.*)$/gm)].map(
    ([, heading = ""]) => {
      const slug = heading
        .trim()
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\p{Pc}\- ]/gu, "")
        .replaceAll(" ", "-");
      const before = seen.get(slug) ?? 0;
      seen.set(slug, before + 1);
      return before === 0 ? slug : `${slug}-${before}`;
    },
  );
  return new Set(anchors);
}

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

const FENCE =
  /^(?<indent> *)```(?<language>\w*)\n(?<text>[^]*?)^\k<indent>```$/gm;

function outdent(text: string, indent: string): string {
  return text
    .split("\n")
    .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
    .join("\n");
}
