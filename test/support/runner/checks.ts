/** Types, lint, format, unused code and spelling: each is one test. */
import { spawn } from "node:child_process";
import { NOTHING, sum, type Counts } from "./tap-text.ts";

export interface Commands {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Results of before are used again for files whose content is the same. */
const CACHE = ["--cache", "--cache-strategy", "content"];
export const CACHES = "node_modules/.cache";

/** Checks that run: two cores are busy with them until the second ends. */
export interface Checks {
  /** The linter, which reads types too and takes longer than all others together. */
  readonly lint: Promise<Counts>;
  /** The others, one after the other. */
  readonly others: Promise<Counts>;
}

/** @param cached false where no result of before may be used again */
export function startChecks(commands: Commands, cached: boolean): Checks {
  const check = (name: string, command: string, ...args: string[]) =>
    runCheck(commands, name, command, args);
  const cache = (tool: string): string[] =>
    cached ? [...CACHE, "--cache-location", `${CACHES}/${tool}/cache`] : [];
  const others = async (): Promise<Counts> =>
    [
      await check("types", "tsc", "-p", "."),
      await check(
        "format",
        "prettier",
        ...cache("prettier"),
        "--check",
        "--log-level=warn",
        "src",
        "test",
        "bench",
        ".github",
        "eslint.config.js",
      ),
      await check("unused code", "knip", "--no-progress"),
      await check(
        "code that only tests use",
        "knip",
        "--production",
        "--no-progress",
        "--include=files,exports,types",
      ),
      await check(
        "spelling",
        "cspell",
        "lint",
        "--no-progress",
        "--no-summary",
        ...cache("cspell"),
      ),
    ].reduce(sum);
  return {
    lint: check("lint", "eslint", ...cache("eslint"), "--max-warnings=0", "."),
    others: others(),
  };
}

async function runCheck(
  commands: Commands,
  name: string,
  command: string,
  args: readonly string[],
): Promise<Counts> {
  const { ok, output } = await run(commands, command, args);
  process.stdout.write(`${name} … ${ok ? "ok" : `failed\n${output}`}\n`);
  return { ...NOTHING, [ok ? "passed" : "failed"]: 1 };
}

/** Runs a command to its end. */
function run(
  { root, env }: Commands,
  command: string,
  args: readonly string[],
): Promise<{ readonly ok: boolean; readonly output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env,
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
