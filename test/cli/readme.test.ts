/** What README and guide say is what the code does: the tables that are made from it, the metrics, the packages. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { makeMeters } from "../../src/proxy/meters.ts";
import { makeMetrics } from "../../src/telemetry/metrics.ts";
import { GUIDE, readPage } from "../harness/pages.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const TEXT = GUIDE.map(readPage).join("\n");
const read = (name: string): string => readFileSync(join(ROOT, name), "utf8");

void t.test("npm run docs changes nothing: the tables are the code's", (t) => {
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(ROOT, "src", "docs.ts"), "--check"],
    { encoding: "utf8" },
  );
  t.equal(stderr, "");
  t.equal(status, 0);
  t.end();
});

void t.test("every metric of the proxy is there, and no other", (t) => {
  const registry = makeMetrics({ maxSeries: 100 });
  makeMeters(registry);
  const real = [...registry.render().matchAll(/^# HELP (\S+)/gm)].map(
    ([, name]) => name,
  );
  const said = new Set(
    [...TEXT.matchAll(/`(wherry_[a-z_]+)`/g)].map(([, name]) => name),
  );
  t.strictSame([...said].sort(), real.sort());
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
