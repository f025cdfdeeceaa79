// `npm test`: installs what is missing, then types, lint, unused code, unit tests with coverage, and the tests of whole processes.
// With names of files or folders behind it, only those tests. Ends in a plain line "N passed, N failed".
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { install, root, runtime } from "../src/launch.js";

await install();
const node = runtime();
const bin = join(root, "node_modules", ".bin");
const env = {
  ...process.env,
  PATH: [bin, dirname(node), process.env.PATH].join(delimiter),
};

/** Share of lines, in percent, that the tests of these folders reach at least. */
const COVERED = {
  "src/policy/": 90,
  "src/wire/": 90,
  "src/identity/": 90,
  "src/resources/": 90,
};

const total = { passed: 0, failed: 0, skipped: 0 };

function sh(command, args, quiet = false) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env,
      stdio: ["ignore", quiet ? "pipe" : "inherit", "inherit"],
    });
    let output = "";
    child.stdout?.on("data", (chunk) => (output += chunk));
    child.on("error", (error) => resolve({ ok: false, output: error.message }));
    child.on("exit", (code) => resolve({ ok: code === 0, output }));
  });
}

/** A check that is one test: types, lint and the like. */
async function check(name, command, args) {
  const { ok, output } = await sh(command, args, true);
  process.stdout.write(`${name} … ${ok ? "ok" : `failed\n${output}`}\n`);
  total[ok ? "passed" : "failed"] += 1;
}

/** Runs test files; their counts are read from the TAP that the run leaves behind. */
async function tests(name, files, options) {
  await buildTap();
  process.stdout.write(`${name} …\n`);
  const tap = join(root, ".tap", `${name.replaceAll(" ", "-")}.tap`);
  rmSync(tap, { force: true });
  // A person watches the counts grow; a log gets the failures alone, below.
  const reporter = process.stdout.isTTY ? "terse" : "silent";
  const { ok } = await sh("tap", [
    "run",
    `--reporter=${reporter}`,
    `--output-file=${tap}`,
    "--allow-incomplete-coverage",
    ...options,
    ...files,
  ]);
  const text = existsSync(tap) ? readFileSync(tap, "utf8") : "";
  const counts = summary(text);
  // A run that died before its summary has failed once more than it can tell.
  if (!ok && counts.failed === 0) counts.failed = 1;
  process.stdout.write(
    `${failures(text)}  ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`,
  );
  for (const key of Object.keys(total)) total[key] += counts[key];
}

/** tap carries a TypeScript loader that Node makes needless; .taprc leaves it out, but the run that finds tap unbuilt still has it. */
async function buildTap() {
  const built = join(
    root,
    "node_modules",
    "@tapjs",
    "test",
    "test-built",
    "dist",
    "esm",
    "index.js",
  );
  if (readFileSync(built, "utf8").includes("@tapjs/typescript"))
    await sh("tap", ["build"]);
}

/** The failed assertions of a TAP text, each with what TAP says of it; the first hundred lines. */
function failures(text) {
  const lines = text.split("\n");
  const shown = [];
  for (let index = 0; index < lines.length && shown.length < 100; index += 1) {
    if (!/^\s*not ok /.test(lines[index])) continue;
    shown.push(lines[index]);
    if (!/^\s*---$/.test(lines[index + 1] ?? "")) continue;
    for (
      index += 1;
      index < lines.length && !/^\s*\.\.\.$/.test(lines[index]);
      index += 1
    )
      shown.push(lines[index]);
  }
  return shown.length === 0 ? "" : `${shown.join("\n")}\n`;
}

function filesIn(...folders) {
  return folders.flatMap((folder) =>
    readdirSync(join(root, "test", folder))
      .filter((name) => name.endsWith(".test.ts"))
      .map((name) => join("test", folder, name)),
  );
}

function summary(text) {
  const found = [...text.matchAll(/^# \{ (.*) \}$/gm)].at(-1)?.[1] ?? "";
  const count = (word) =>
    Number(new RegExp(`${word}: (\\d+)`).exec(found)?.[1] ?? 0);
  return {
    passed: count("pass"),
    failed: count("fail"),
    skipped: count("skip") + count("todo"),
  };
}

/** Each folder of COVERED is one test. */
function coverage() {
  const report = JSON.parse(
    readFileSync(join(root, ".tap", "report", "coverage-summary.json"), "utf8"),
  );
  for (const [folder, wanted] of Object.entries(COVERED)) {
    let lines = 0;
    let covered = 0;
    for (const [file, entry] of Object.entries(report)) {
      if (!file.startsWith(join(root, folder))) continue;
      lines += entry.lines.total;
      covered += entry.lines.covered;
    }
    const percent = lines === 0 ? 0 : (100 * covered) / lines;
    const ok = percent >= wanted;
    process.stdout.write(
      `coverage ${folder.padEnd(16)} ${percent.toFixed(1).padStart(5)} % of ${lines} lines ${ok ? "ok" : `failed: ${wanted} % wanted`}\n`,
    );
    total[ok ? "passed" : "failed"] += 1;
  }
}

async function checks() {
  // The linter reads types too and takes as long as the others together.
  await Promise.all([
    check("lint", "eslint", ["--max-warnings", "0", "."]),
    check("spelling", "cspell", ["lint", "--no-progress", "--no-summary"]),
    check("types", "tsc", ["-p", "."])
      .then(() =>
        check("format", "prettier", [
          "--check",
          "--log-level",
          "warn",
          "src",
          "test",
          "bench",
          ".github",
          "eslint.config.js",
        ]),
      )
      .then(() => check("unused code", "knip", ["--no-progress"])),
  ]);
}

/** Tests of whole processes that compare times or memory: beside others they would measure those. */
const ALONE =
  /(?:floods|slow|all-attacks|never-twice|c10-\w+|c12-[\w-]+|c13-[\w-]+|c14-[\w-]+|c15-(?:query|probes|sent-ahead))\.test\.ts$/;

const named = process.argv.slice(2);
if (named[0] === "--lint") {
  await checks();
} else if (named.length > 0) {
  await tests("named tests", named, ["--disable-coverage", "--timeout=600"]);
} else {
  await checks();
  await tests(
    "unit tests",
    ["--exclude=test/e2e/**", "--exclude=test/hostile/**"],
    ["--coverage-report=json-summary"],
  );
  coverage();
  const processes = filesIn("hostile", "hostile/red-team", "e2e");
  // Most of these wait for most of their time.
  await tests(
    "whole processes",
    processes.filter((file) => !ALONE.test(file)),
    ["--jobs=3", "--disable-coverage", "--timeout=600"],
  );
  await tests(
    "whole processes that are measured",
    processes.filter((file) => ALONE.test(file)),
    ["--jobs=1", "--disable-coverage", "--timeout=600"],
  );
}
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
const refused = process.env.WHERRY_REQUIRE === "all" && total.skipped > 0;
if (refused)
  process.stdout.write("WHERRY_REQUIRE=all: a skipped test is a failure\n");
process.stdout.write(
  `\n${total.passed} passed, ${total.failed + (refused ? total.skipped : 0)} failed${refused ? "" : skipped}\n`,
);
process.exit(total.failed > 0 || refused ? 1 : 0);
