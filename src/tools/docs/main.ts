/** `npm run docs`: writes the reference in `config/reference/`. With `--check` it says which pages are stale, and fails. */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { apiPage } from "./api.ts";
import { cliPage } from "./cli.ts";
import { kindPages } from "./kinds.ts";
import { limitsPage } from "./limits.ts";
import { pageText, type Page } from "./markdown.ts";
import { metricsPage } from "./metrics.ts";
import { reasonsPage } from "./reasons.ts";

const FOLDER = join(
  import.meta.dirname,
  "..",
  "..",
  "..",
  "config",
  "reference",
);

const pages: readonly Page[] = [
  await cliPage(),
  await apiPage(),
  ...kindPages(),
  limitsPage(),
  reasonsPage(),
  metricsPage(),
];
const stale = pages.filter((page) => onDisk(page.file) !== pageText(page));
const names = new Set(pages.map(({ file }) => file));
const orphans = filesOnDisk().filter((file) => !names.has(file));

if (process.argv.includes("--check")) check();
else write();

function check(): void {
  const wrong = [...stale.map(({ file }) => file), ...orphans];
  if (wrong.length === 0) return;
  process.stderr.write(
    `config/reference: stale: ${wrong.join(", ")}; run npm run docs\n`,
  );
  process.exitCode = 1;
}

function write(): void {
  for (const page of stale) {
    const path = join(FOLDER, page.file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, pageText(page));
    process.stdout.write(`config/reference/${page.file}: written\n`);
  }
  for (const file of orphans) {
    rmSync(join(FOLDER, file));
    process.stdout.write(`config/reference/${file}: removed\n`);
  }
}

function onDisk(file: string): string {
  try {
    return readFileSync(join(FOLDER, file), "utf8");
  } catch {
    // Not written yet.
    return "";
  }
}

function filesOnDisk(): string[] {
  mkdirSync(FOLDER, { recursive: true });
  return readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".md"),
  );
}
