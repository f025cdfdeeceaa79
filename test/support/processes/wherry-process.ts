/** A command of Wherry as a process of its own: its log, its limits and its end. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../../../src/core/errors.ts";
import { flagsOf } from "../../../src/runtime/node-flags.ts";
import { eventually } from "../peers/call.ts";
import { cleanEnvironment, PROGRAM, ROOT } from "./demo.ts";

export interface WherryOptions {
  /** What Node is given to run, where it is another version of Wherry than this. */
  readonly main?: string;
  /** Flags of Node itself. */
  readonly nodeFlags?: readonly string[];
  /** A command that starts it, with its arguments: strace. */
  readonly prefix?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A command of Wherry that runs. */
export interface WherryProcess {
  /** That of the prefix, where there is one. */
  readonly pid: number;
  /** Undefined while it runs. */
  readonly ended: Ended | undefined;
  /** Rejects where it has not ended within half a minute. */
  untilEnded(): Promise<Ended>;
  /** What it has written to standard error, as far as it was read. */
  readonly log: string;
  /** Nobody reads its standard error from now on, a pipe, and it is full. */
  blockLog(): void;
  unblockLog(): void;
  signal(name: NodeJS.Signals): void;
  stop(): Promise<void>;
}

export function startWherry(
  args: readonly string[],
  options: WherryOptions = {},
): WherryProcess {
  const { main = PROGRAM, nodeFlags = [], prefix = [] } = options;
  const [command = "", ...rest] = [
    ...prefix,
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    // Without those of its command Node would begin again.
    ...flagsOf(args[0]),
    ...nodeFlags,
    main,
    ...args,
  ];
  const pipe = openPipe();
  const child: ChildProcess = spawn(command, rest, {
    cwd: ROOT,
    // Without it Node would begin again, as without the flags.
    env: cleanEnvironment({
      UV_THREADPOOL_SIZE: "16",
      ...options.environment,
    }),
    stdio: ["ignore", "ignore", pipe.writeEnd],
  });
  pipe.started();
  let log = "";
  let ended: Ended | undefined;
  pipe.reader.on("data", (chunk: Buffer) => (log += chunk.toString()));
  const whenEnded = new Promise<Ended>((resolve) => {
    child.once("exit", (code, signal) => {
      ended = { code, signal };
      resolve(ended);
    });
  });
  return {
    pid: child.pid ?? 0,
    get ended() {
      return ended;
    },
    async untilEnded() {
      await eventually(
        "it ends",
        30_000,
        () => Promise.resolve(ended ?? null),
        (how) => how !== null,
      );
      return whenEnded;
    },
    get log() {
      return log;
    },
    blockLog: () => pipe.block(),
    unblockLog: () => void pipe.reader.resume(),
    signal: (name) => void child.kill(name),
    async stop() {
      if (ended === undefined) child.kill("SIGKILL");
      await whenEnded;
      pipe.close();
    },
  };
}

interface LogPipe {
  /** For the process. */
  readonly writeEnd: number;
  readonly reader: Socket;
  /** The process has its end. */
  started(): void;
  block(): void;
  close(): void;
}

/** A pipe by name, since those that Node makes for its children are sockets. */
function openPipe(): LogPipe {
  const directory = mkdtempSync(join(tmpdir(), "wherry-log-"));
  const path = join(directory, "pipe");
  execFileSync("mkfifo", [path]);
  const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants;
  const readEnd = openSync(path, O_RDONLY | O_NONBLOCK);
  const writeEnd = openSync(path, O_WRONLY);
  const filler = openSync(path, O_WRONLY | O_NONBLOCK);
  const reader = new Socket({ fd: readEnd, readable: true, writable: false });
  rmSync(directory, { recursive: true });
  return {
    writeEnd,
    reader,
    started: () => closeSync(writeEnd),
    close() {
      if (reader.destroyed) return;
      reader.destroy();
      closeSync(filler);
    },
    block() {
      reader.pause();
      const lines = Buffer.from("\n".repeat(4096));
      try {
        for (;;) writeSync(filler, lines);
      } catch {
        // EAGAIN: it is full.
      }
    },
  };
}

/** What it says and where it stands, for a test that waits in vain. */
export function stateOf({ pid, log }: WherryProcess): string {
  const read = (name: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${name}`, "utf8").replaceAll("\0", " ");
    } catch (thrown) {
      return messageOf(thrown);
    }
  };
  return [log.slice(-400), ...["wchan", "syscall", "stat", "cmdline"].map(read)]
    .map((part) => part.trim())
    .join(" | ");
}

export function throwIfEnded({ ended, log }: WherryProcess): void {
  if (ended !== undefined)
    throw new Error(
      `it ended with ${String(ended.code ?? ended.signal)}: ${log}`,
    );
}
