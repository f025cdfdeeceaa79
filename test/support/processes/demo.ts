/** The running demo as a test meets it: real processes, started by the command that people use. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DevFile } from "../../../src/demo/dev.ts";
import type { Instance } from "../../../src/demo/shop.ts";
import { MAIN } from "../../../src/runtime/package.ts";

export const ROOT: string = fileURLToPath(new URL("../../..", import.meta.url));
/** The folder of the bundle that the runner has built for these tests: it starts in half the time. Undefined: the checkout's source is run. */
const BUILT = process.env["WHERRY_BUILT"];
/** The command as people type it. */
export const WHERRY: string = join(BUILT ?? join(ROOT, "src"), "wherry.js");
/** What Node is given to run a command, without the launcher: that starts Node anew, without the flags that it was given. */
export const PROGRAM: string =
  BUILT === undefined ? MAIN : join(BUILT, "src", "main.mjs");

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Demo {
  readonly file: DevFile;
  readonly state: string;
  /** Everything that the demo has printed. */
  readonly output: string;
  instance(name: string): Instance;
  /** Runs a `wherry` command against this demo. */
  wherry(...args: string[]): Promise<Ran>;
  /** As `wherry`, and throws where it fails. */
  must(...args: string[]): Promise<string>;
  /** Applies YAML text. */
  apply(yaml: string): Promise<Ran>;
  /** What a process of the demo has logged: "orders-1/sidecar". */
  log(process: string): Promise<string>;
  /** SIGINT, as Ctrl-C sends it; resolves when the demo has ended. */
  stop(): Promise<number | null>;
}

/**
 * The environment without what the test runner puts in it for its own children, but for the compile cache: more than half of what a start
 * of this checkout takes is reading its TypeScript.
 */
export function cleanEnvironment(
  more: Readonly<Record<string, string>> = {},
): Record<string, string | undefined> {
  const {
    NODE_OPTIONS: _options,
    NODE_V8_COVERAGE: _coverage,
    ...rest
  } = process.env;
  // What tap says to the processes of its tests is not for theirs.
  const own = Object.entries(rest).filter(([name]) => !name.startsWith("TAP"));
  return { ...Object.fromEntries(own), ...more };
}

/** Without the compile cache too: as on a machine that has not run any of it. */
export function newEnvironment(
  more: Readonly<Record<string, string>> = {},
): Record<string, string | undefined> {
  const { NODE_COMPILE_CACHE: _compiled, ...rest } = cleanEnvironment(more);
  return rest;
}

/** A bundle has compiled code of its own. */
const environmentFor = (
  wherry: string,
  more: Readonly<Record<string, string>> = {},
): ReturnType<typeof cleanEnvironment> =>
  wherry === WHERRY ? cleanEnvironment(more) : newEnvironment(more);

export async function startDemo(
  options: {
    readonly args?: readonly string[];
    readonly environment?: Readonly<Record<string, string>>;
    /** The file that is the command; that of the checkout without it. */
    readonly wherry?: string;
  } = {},
): Promise<Demo> {
  const command = options.wherry ?? WHERRY;
  const state = await mkdtemp(join(tmpdir(), "wherry-demo-"));
  const child = spawn(
    process.execPath,
    [
      command,
      "dev",
      "--any-ports",
      "--no-load",
      "--state",
      state,
      ...(options.args ?? []),
    ],
    {
      cwd: ROOT,
      env: environmentFor(command, options.environment),
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const printed = collect(child);
  await opened(child, printed, state);
  const file = JSON.parse(
    await readFile(join(state, "dev.json"), "utf8"),
  ) as DevFile;
  const wherry = (...args: string[]): Promise<Ran> =>
    runWherry(
      args,
      { WHERRY_SERVER: file.api, WHERRY_STATE: state },
      "",
      command,
    );
  return {
    file,
    state,
    get output() {
      return printed.text;
    },
    instance(name) {
      const found = file.instances.find((each) => each.name === name);
      if (found === undefined) throw new Error(`no instance ${name}`);
      return found;
    },
    wherry,
    async must(...args) {
      const ran = await wherry(...args);
      if (ran.code !== 0)
        throw new Error(`wherry ${args.join(" ")}: ${ran.stdout}${ran.stderr}`);
      return ran.stdout;
    },
    apply: (yaml) =>
      runWherry(
        ["apply", "-f", "-"],
        { WHERRY_SERVER: file.api, WHERRY_STATE: state },
        yaml,
        command,
      ),
    log: (name) =>
      readFile(join(state, "logs", `${name.replace("/", "-")}.log`), "utf8"),
    async stop() {
      child.kill("SIGINT");
      const code = await ended(child);
      await rm(state, { recursive: true, force: true });
      return code;
    },
  };
}

export function runWherry(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  input = "",
  wherry: string = WHERRY,
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [wherry, ...args], {
      cwd: ROOT,
      env: environmentFor(wherry, environment),
      stdio: ["pipe", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(input);
  });
}

interface Printed {
  text: string;
}

function collect(child: ChildProcess): Printed {
  const printed: Printed = { text: "" };
  child.stdout?.on(
    "data",
    (chunk: Buffer) => (printed.text += chunk.toString()),
  );
  child.stderr?.on(
    "data",
    (chunk: Buffer) => (printed.text += chunk.toString()),
  );
  return printed;
}

function opened(
  child: ChildProcess,
  printed: Printed,
  state: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (printed.text.includes("Ctrl-C stops everything")) resolve();
    };
    child.stdout?.on("data", look);
    child.once("exit", (code) =>
      reject(
        new Error(
          `the demo ended with ${String(code)} before it was open (state in ${state}):\n${printed.text}`,
        ),
      ),
    );
  });
}

function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null)
    return Promise.resolve(child.exitCode);
  return new Promise(
    (resolve) => void child.once("exit", (code) => resolve(code)),
  );
}

export interface StartedSidecar {
  /** The port that takes calls. */
  readonly outbound: number;
  stop(): Promise<void>;
}

/** One more sidecar, on whatever ports are free. */
export async function startSidecar(
  args: readonly string[],
): Promise<StartedSidecar> {
  const state = await mkdtemp(join(tmpdir(), "wherry-sidecar-"));
  const ports = ["outbound", "link", "admin", "metrics"].flatMap((name) => [
    `--${name}-port`,
    "0",
  ]);
  const child = spawn(
    process.execPath,
    [
      WHERRY,
      "sidecar",
      ...["--state", state, "--host", "127.0.0.1", "--address", "127.0.0.1"],
      ...["--no-capture", ...ports, ...args],
    ],
    { cwd: ROOT, env: cleanEnvironment(), stdio: ["ignore", "ignore", "pipe"] },
  );
  const printed = collect(child);
  const outbound = await new Promise<number>((resolve, reject) => {
    child.stderr.on("data", () => {
      const found = /"outbound":(\d+)/.exec(printed.text)?.[1];
      if (found !== undefined) resolve(Number(found));
    });
    child.once("exit", () => reject(new Error(printed.text)));
  });
  return {
    outbound,
    async stop() {
      child.kill("SIGTERM");
      await ended(child);
      await rm(state, { recursive: true, force: true });
    },
  };
}
