/** Every link of every page leads to a file that is there, and to a heading of it; the README is one page, from which all others are reached. */
import { Buffer } from "node:buffer";
import { existsSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import t from "tap";
import {
  anchorsOf,
  GUIDE,
  linksOf,
  PAGES,
  readPage,
} from "../support/repository/pages.ts";

const ROOT = join(import.meta.dirname, "..", "..");

/** The file that a link leads to, from the root. */
function fileOf(page: string, link: string): string {
  const [path = ""] = link.split("#");
  return path === "" ? page : normalize(join(dirname(page), path));
}

for (const page of PAGES)
  void t.test(`${page} links to what is there`, (t) => {
    for (const link of linksOf(readPage(page))) {
      const file = fileOf(page, link);
      const [, anchor] = link.split("#");
      if (!existsSync(join(ROOT, file))) t.fail(link);
      else if (anchor !== undefined)
        t.ok(anchorsOf(readPage(file)).has(anchor), link);
    }
    t.end();
  });

void t.test("the README leads to every page of the guide", (t) => {
  const reached = new Set(["README.md"]);
  for (const page of reached)
    for (const link of linksOf(readPage(page))) {
      const file = fileOf(page, link);
      if (GUIDE.includes(file)) reached.add(file);
    }
  t.strictSame([...reached].sort(), [...GUIDE].sort());
  t.end();
});

void t.test("the README leads to the policy on security", (t) => {
  t.ok(linksOf(readPage("README.md")).includes(".github/SECURITY.md"));
  t.end();
});

void t.test("the README has at most 10 kB", (t) => {
  t.ok(Buffer.byteLength(readPage("README.md")) <= 10_000);
  t.end();
});
