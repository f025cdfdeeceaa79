/** The processes of a measurement: started, watched by the kernel's own accounting, and ended by pid. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { wait, type Clock } from "../src/core/clock.ts";
import { UserError } from "../src/core/errors.ts";

export interface Command {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The port that tells that it is up; it must be free before, and this process's after. */
  readonly port: number;
  /** "1": pinned to that core by taskset; absent: anywhere. */
  readonly core?: string;
}

export interface Running {
  readonly name: string;
  readonly pid: number;
  /** CPU seconds spent so far, user and system, by all threads. */
  cpu(): number;
  /** Resident set, in MiB. */
  rss(): number;
  stop(): Promise<void>;
}

/** USER_HZ of Linux, in which /proc counts. */
const TICKS_A_SECOND = 100;
const UP_WITHIN = 15_000;

export function isInstalled(command: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${command}`]).status === 0;
}

/** Starts a process and waits until it listens; throws where the port was taken or another process listens on it. */
export async function start(command: Command, clock: Clock): Promise<Running> {
  if (await answers(command.port))
    throw new UserError(
      `port ${command.port} is taken: something else than ${command.name} would be measured`,
    );
  const pinned =
    command.core === undefined
      ? [command.command, ...command.args]
      : ["taskset", "-c", command.core, command.command, ...command.args];
  const [program = "", ...args] = pinned;
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  let complaint = "";
  child.stderr.on(
    "data",
    (chunk: Buffer) =>
      (complaint = `${complaint}${chunk.toString()}`.slice(-2000)),
  );
  const { pid } = child;
  if (pid === undefined)
    throw new UserError(`${command.name}: ${program} does not start`);
  const stopped = exit(child);
  const give = async (): Promise<void> => {
    child.kill("SIGTERM");
    const cancel = clock.after(5000, () => void child.kill("SIGKILL"));
    await stopped;
    cancel();
  };
  const until = clock.now() + UP_WITHIN;
  while (!(await answers(command.port))) {
    if (child.exitCode !== null || clock.now() > until) {
      await give();
      throw new UserError(
        `${command.name} does not listen on ${command.port}: ${complaint}`,
      );
    }
    await wait(clock, 20, new AbortController().signal);
  }
  // taskset and Envoy's launcher replace themselves: the listener must be this pid or a child of it.
  if (!listens(pid, command.port)) {
    await give();
    throw new UserError(
      `the listener on ${command.port} is not ${command.name}: the measurement would be of another process`,
    );
  }
  return {
    name: command.name,
    pid,
    cpu: () => cpuOf(pid),
    rss: () => rssOf(pid),
    stop: give,
  };
}

function exit(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => void child.once("exit", () => resolve()));
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** The process and its direct children. */
function family(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return [
      pid,
      ...children
        .split(" ")
        .filter((part) => part !== "")
        .map(Number),
    ];
  } catch {
    return [pid];
  }
}

function cpuOf(pid: number): number {
  let ticks = 0;
  for (const each of family(pid)) {
    const stat = readFileSync(`/proc/${each}/stat`, "utf8");
    // The command's name, in parentheses, may hold blanks: fields are counted from behind it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_A_SECOND;
}

function rssOf(pid: number): number {
  let kilobytes = 0;
  for (const each of family(pid))
    kilobytes += Number(
      /VmRSS:\s+(\d+)/.exec(
        readFileSync(`/proc/${each}/status`, "utf8"),
      )?.[1] ?? 0,
    );
  return kilobytes / 1024;
}

/** Whether a socket in state LISTEN on the port belongs to the process or a child of it. */
function listens(pid: number, port: number): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const inodes = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of readFileSync(table, "utf8").split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      const [, local = "", , state = ""] = fields;
      if (local.endsWith(wanted) && state === "0A")
        inodes.add(`socket:[${fields[9] ?? ""}]`);
    }
  }
  return family(pid).some((each) =>
    socketsOf(each).some((socket) => inodes.has(socket)),
  );
}

function socketsOf(pid: number): string[] {
  const links = spawnSync(
    "readlink",
    readdirSync(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`),
  );
  return links.stdout.toString().split("\n");
}
