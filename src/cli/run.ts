/** The command line: which commands there are, and what becomes of an error in one of them. */
import { Command, CommanderError } from "commander";
import { systemClock } from "../core/clock.ts";
import { EXIT, messageOf, systemCode, UserError } from "../core/errors.ts";
import { watchForDefects } from "../runtime/last-resort.ts";
import { listenForSignals, StopRequest } from "../runtime/stop-signals.ts";
import { listenForUserSignals } from "../runtime/user-signals.ts";
import { STOP_WITH_PARENT } from "../demo/processes.ts";
import { packageVersion } from "../runtime/package.ts";
import { ApiError } from "./client.ts";
import type { CliContext } from "./context.ts";
import { addExamples } from "./examples.ts";
import { beginWithFlags, flagsOf } from "../runtime/node-flags.ts";
import { visible } from "./output.ts";
import { applyConfigFile } from "./settings.ts";
import { painter, showsColours } from "./table.ts";

/** Only the module of the command that was asked for is loaded: a sidecar has no use for the API's server. */
const COMMANDS: Readonly<
  Record<string, () => Promise<(program: Command, context: CliContext) => void>>
> = {
  dev: async () => (await import("./commands/dev.ts")).registerDev,
  "control-plane": async () =>
    (await import("./commands/control-plane.ts")).registerControlPlane,
  sidecar: async () => (await import("./commands/sidecar.ts")).registerSidecar,
  wait: async () => (await import("./commands/wait.ts")).registerWait,
  apply: async () => (await import("./commands/apply.ts")).registerApply,
  get: async () => (await import("./commands/get.ts")).registerGet,
  describe: async () =>
    (await import("./commands/describe.ts")).registerDescribe,
  delete: async () => (await import("./commands/delete.ts")).registerDelete,
  status: async () => (await import("./commands/status.ts")).registerStatus,
  lint: async () => (await import("./commands/lint.ts")).registerLint,
  test: async () => (await import("./commands/test.ts")).registerTest,
  explain: async () => (await import("./commands/explain.ts")).registerExplain,
  revoke: async () => (await import("./commands/revoke.ts")).registerRevoke,
  token: async () => (await import("./commands/token.ts")).registerToken,
  ca: async () => (await import("./commands/ca.ts")).registerCa,
  store: async () => (await import("./commands/store.ts")).registerStore,
  audit: async () => (await import("./commands/audit.ts")).registerAudit,
  trace: async () => (await import("./commands/trace.ts")).registerTrace,
  demo: async () => (await import("./commands/demo.ts")).registerDemo,
  intercept: async () =>
    (await import("./commands/intercept.ts")).registerIntercept,
};

/** Commands that are in another's module. */
const ALIASES: Readonly<Record<string, string>> = {
  "demo-application": "demo",
};

const VERSION = "--version";

/** Runs one command; resolves with the exit code. `exit` ends the process where it cannot be waited for. */
export async function run(
  argv: readonly string[],
  exit: (code: number) => void,
): Promise<number> {
  beginWithFlags(flagsOf(argv[0]));
  const stop = new AbortController();
  listenForSignals({ clock: systemClock, stop, exit, signals: process });
  const userSignals = listenForUserSignals(process, (signal) =>
    process.stderr.write(`wherry: ${signal} does nothing here\n`),
  );
  const stopListening = listenForParent(stop);
  const output = watchOutput();
  const lastResort = watchForDefects({
    clock: systemClock,
    exit,
    stop: () => stop.abort(new StopRequest(undefined)),
  });
  const context: CliContext = {
    clock: systemClock,
    environment: process.env,
    colours: showsColours(process.stdout.isTTY, process.env),
    print: (text) => process.stdout.write(text),
    complain: (text) => process.stderr.write(text),
    readInput,
    stop: stop.signal,
    exitCode: EXIT.done,
    lastResort,
    userSignals,
  };
  try {
    const code = await runWith(argv, context);
    if (lastResort.ending) return EXIT.defect;
    return code === EXIT.done && output.lost ? EXIT.failed : code;
  } finally {
    stopListening();
  }
}

/** As `run`, in a world of the caller's making. */
export async function runWith(
  argv: readonly string[],
  world: CliContext,
): Promise<number> {
  const { colours } = world;
  const context: CliContext = {
    ...world,
    print: (text) => world.print(visible(text, colours)),
    complain: (text) => world.complain(visible(text, colours)),
  };
  try {
    const program = await makeProgram(context, argv[0]);
    await program.parseAsync(argv, { from: "user" });
    return context.exitCode;
  } catch (error) {
    return report(error, context);
  }
}

/** The program with the command that is named, without any where its version is asked for, and else with all of them. */
export async function makeProgram(
  context: CliContext,
  named?: string,
): Promise<Command> {
  const program = new Command("wherry")
    .description(
      "a service mesh: a sidecar proxy for each service, and a small control plane",
    )
    .version(packageVersion(), VERSION, "the version of wherry")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.print(text),
      writeErr: (text) => context.complain(text),
    })
    .showHelpAfterError("(add --help to see what there is)");
  program.hook("preAction", (_program, command) => applyConfigFile(command));
  await registerCommands(program, context, named);
  addExamples(program);
  return program;
}

async function registerCommands(
  program: Command,
  context: CliContext,
  named: string | undefined,
): Promise<void> {
  if (named === VERSION) return;
  const chosen =
    named === undefined ? undefined : COMMANDS[ALIASES[named] ?? named];
  for (const load of chosen === undefined ? Object.values(COMMANDS) : [chosen])
    (await load())(program, context);
}

/** What a person did wrong is one clear message; what we did wrong comes with its stack. */
function report(error: unknown, context: CliContext): number {
  if (error instanceof CommanderError) return error.exitCode;
  // Asked to stop while it was still starting: that is not a fault to report.
  if (error === context.stop.reason && context.stop.aborted)
    return EXIT.stopped;
  const red = painter(context.colours)("red", "error:");
  if (error instanceof UserError) {
    context.complain(`${red} ${error.message}\n`);
    return error.exitCode;
  }
  if (error instanceof ApiError) {
    const causes = error.causes
      .map(
        (cause) =>
          `\n  ${cause.field === "" ? "" : `${cause.field}: `}${cause.message}`,
      )
      .join("");
    context.complain(`${red} ${error.message}${causes}\n`);
  } else if (context.stop.aborted) return EXIT.stopped;
  else
    context.complain(
      `${red} ${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}\n`,
    );
  return EXIT.failed;
}

/**
 * Where the process is to end with its parent: asks for an end once standard input ends. Returns the way to stop listening: an open
 * standard input would keep the process alive.
 */
function listenForParent(stop: AbortController): () => void {
  if (process.env[STOP_WITH_PARENT] !== "1") return () => undefined;
  const ask = (): void => stop.abort(new StopRequest(undefined));
  process.stdin.on("end", ask);
  process.stdin.on("error", ask);
  process.stdin.resume();
  process.stdin.on("close", ask);
  return () => process.stdin.destroy();
}

/**
 * A reader of the output may leave (EPIPE): it wants no more. Where a disk is full the output is not whole, and the exit code says so.
 */
function watchOutput(): { readonly lost: boolean } {
  const output = { lost: false };
  process.stdout.on("error", (thrown) => {
    if (output.lost || systemCode(thrown) === "EPIPE") return;
    output.lost = true;
    process.exitCode = EXIT.failed;
    process.stderr.write(
      `error: standard output cannot be written: ${messageOf(thrown)}\n`,
    );
  });
  process.stderr.on("error", () => undefined);
  return output;
}

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Buffer>)
    chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
