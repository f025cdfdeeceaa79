/** Types and lint, format, unused code and spelling: each is one test. */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { NOTHING, sum, type Counts } from "./tap-text.ts";
import { Unchanged } from "./unchanged.ts";

export interface Commands {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
}

interface Check {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

export const CACHES = "node_modules/.cache";
const HALF_OF_CORES = Math.max(1, Math.floor(availableParallelism() / 2));

/** Two rows of about the same length, one beside the other. */
const ROWS: readonly (readonly Check[])[] = [
  [
    {
      name: "types and lint",
      command: "oxlint",
      args: [],
      // It ends before there is much to collect: a quarter of its CPU. Each thread works out types that others need too, and the
      // other row has the other half of the cores.
      env: { GOGC: "off", GOMAXPROCS: String(HALF_OF_CORES) },
    },
    { name: "format", command: "oxfmt", args: ["--check"] },
  ],
  [
    { name: "unused code", command: "knip", args: ["--no-progress"] },
    {
      name: "code that only tests use",
      command: "knip",
      args: ["--production", "--no-progress", "--include=files,exports,types"],
    },
    {
      name: "spelling",
      command: "cspell",
      // A file's spelling hangs on its own text and on the words that are known: what both were is kept.
      args: [
        ...["lint", "--no-progress", "--no-summary"],
        ...["--cache", "--cache-strategy", "content"],
        ...["--cache-location", `${CACHES}/spelling.json`],
      ],
    },
  ],
];

/** @param again also what has passed on this very content */
export async function runChecks(
  commands: Commands,
  again: boolean,
): Promise<Counts> {
  const unchanged = new Unchanged(
    commands.root,
    join(commands.root, CACHES, "checks.json"),
  );
  const digest = again ? undefined : unchanged.digest();
  const runRow = async (row: readonly Check[]): Promise<Counts> => {
    let counts = NOTHING;
    for (const check of row) {
      const known = unchanged.has(check.name, digest);
      const { ok, output } = known
        ? { ok: true, output: "" }
        : await run(commands, check);
      if (ok) unchanged.passed(check.name, digest);
      process.stdout.write(
        `${check.name} … ${ok ? (known ? "ok, as before" : "ok") : `failed\n${output}`}\n`,
      );
      counts = sum(counts, { ...NOTHING, [ok ? "passed" : "failed"]: 1 });
    }
    return counts;
  };
  return (await Promise.all(ROWS.map(runRow))).reduce(sum);
}

/** Runs a command to its end. */
function run(
  { root, env }: Commands,
  { command, args, env: own }: Check,
): Promise<{ readonly ok: boolean; readonly output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...env, ...own },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout
      .setEncoding("utf8")
      .on("data", (text: string) => (output += text));
    child.on("error", (error) => resolve({ ok: false, output: error.message }));
    child.on("close", (code) => resolve({ ok: code === 0, output }));
  });
}
