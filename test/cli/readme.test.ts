/** What README and guide say is what the code does: the metrics, the files, the packages. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { METRIC_NAMES } from "../support/repository/metric-names.ts";
import { GUIDE, readPage } from "../support/repository/pages.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const TEXT = GUIDE.map(readPage).join("\n");
const read = (name: string): string => readFileSync(join(ROOT, name), "utf8");

void t.test("metrics that are named are registered", (t) => {
  for (const [, name = ""] of TEXT.matchAll(/`(wherry_[a-z_]+)/g))
    t.ok(METRIC_NAMES.has(name), name);
  t.end();
});

void t.test("files of config/ that commands name are there", (t) => {
  const named = [...TEXT.matchAll(/-f (config\/\S+\.yaml)/g)];
  t.ok(named.length > 0);
  for (const [, file = ""] of named) t.ok(existsSync(join(ROOT, file)), file);
  t.end();
});

void t.test("every package has its line among the decisions", (t) => {
  const record = read("src/decisions/001-runtime-and-packages.md");
  const { dependencies, devDependencies } = JSON.parse(
    read("package.json"),
  ) as Record<"dependencies" | "devDependencies", Record<string, string>>;
  for (const name of Object.keys({ ...dependencies, ...devDependencies }))
    t.ok(record.includes(`\`${name}\``), name);
  t.end();
});

void t.test("src/README.md knows every folder and every decision", (t) => {
  const map = read("src/README.md");
  const folders = readdirSync(join(ROOT, "src"), {
    recursive: true,
    encoding: "utf8",
  })
    .filter((file) => file.endsWith(".ts") && file.includes("/"))
    .map((file) => file.split("/")[0] ?? "");
  for (const folder of new Set(folders))
    t.ok(map.includes(`\`${folder}/\``), folder);
  for (const name of readdirSync(join(ROOT, "src", "decisions")))
    t.ok(map.includes(`(decisions/${name})`), name);
  t.end();
});
