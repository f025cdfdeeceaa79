/** The texts that people read, one group each: messages of the program, comments of its source, pages. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync, Visitor, type Span } from "oxc-parser";
import { GUIDE, PAGES, proseOf, readPage } from "./pages.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");

export interface Phrase {
  /** FILE:LINE. */
  readonly at: string;
  readonly text: string;
}

/** Pages for people who run a mesh, and those that say what the words mean. */
export const PLAIN_PAGES: readonly string[] = PAGES.filter(
  (page) =>
    GUIDE.includes(page) ||
    page.startsWith(".github/") ||
    ["CHANGELOG.md", "certs/README.md", "src/glossary.md"].includes(page),
);

export function plainPages(): Phrase[] {
  return PLAIN_PAGES.flatMap(paragraphs);
}

export function otherPages(): Phrase[] {
  return PAGES.filter(
    (page) =>
      !PLAIN_PAGES.includes(page) && !page.startsWith("config/reference/"),
  ).flatMap(paragraphs);
}

/** The lines of a page, without fenced blocks and inline code. */
function paragraphs(page: string): Phrase[] {
  return proseOf(readPage(page))
    .split("\n")
    .map((line) => ({ at: page, text: line.replaceAll(/`[^`]*`/g, "``") }))
    .filter(({ text }) => text.trim() !== "");
}

/** The sentences of the plain pages: a table's cell and a list's item begin one, a colon or a semicolon ends one. */
export function sentences(): Phrase[] {
  return PLAIN_PAGES.flatMap((page) => {
    const text = proseOf(readPage(page))
      .replaceAll(/<!--.*-->/g, "")
      .replaceAll(/`[^`]*`/g, "code")
      .replaceAll(/\]\([^)]*\)/g, "]")
      .replaceAll(/^ *(?:[-*]|\d+\.) /gm, "\n\n")
      .replaceAll(/^#+ /gm, "\n\n")
      .replaceAll(/\|/g, "\n\n");
    return text
      .split(/\n\s*\n/)
      .flatMap((paragraph) => paragraph.split(/(?<=[.!?:;]\W*)\s+/))
      .map((sentence) => ({
        at: page,
        text: sentence.replaceAll(/\s+/g, " ").trim(),
      }));
  });
}

const SOURCES = globSync("src/**/*.ts", { cwd: ROOT }).sort();

/** String literals that hold more than one word, and templates with what they insert. */
export function messages(): Phrase[] {
  return SOURCES.flatMap((file) => {
    const found: Phrase[] = [];
    const source = readFileSync(join(ROOT, file), "utf8");
    const add = ({ start, end }: Span): void => {
      const text = source.slice(start + 1, end - 1);
      const line = source.slice(0, start).split("\n").length;
      if (text.includes(" ")) found.push({ at: `${file}:${line}`, text });
    };
    new Visitor({
      Literal: (node) => {
        if (typeof node.value === "string") add(node);
      },
      TemplateLiteral: add,
    }).visit(parseSync(file, source).program);
    return found;
  });
}

/** Lines that hold nothing but a comment. */
export function comments(): Phrase[] {
  return SOURCES.flatMap((file) =>
    readFileSync(join(ROOT, file), "utf8")
      .split("\n")
      .map((text, index) => ({ at: `${file}:${index + 1}`, text }))
      .filter(({ text }) => /^\s*(?:\/\*\*|\*|\/\/)/.test(text)),
  );
}
