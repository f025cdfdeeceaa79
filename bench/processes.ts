/** The processes of a measurement: started, watched by the kernel's own accounting, and ended by pid. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { get } from "node:http";
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
  readonly cores?: string;
}

export interface Running {
  readonly name: string;
  readonly pid: number;
  /** CPU seconds spent so far, user and system, by all threads. */
  cpu(): number;
  /** The same by thread; threads that have ended are missing. */
  threads(): ReadonlyMap<number, number>;
  /** Resident set, in MiB. */
  rss(): number;
  /** Throws where the listener is not this process's. */
  guard(): void;
  ended(): boolean;
  /** The end of what it wrote to standard error. */
  complaint(): string;
  stop(): Promise<void>;
}

/** USER_HZ of Linux, in which /proc counts. */
const TICKS_A_SECOND = 100;
/** Milliseconds. */
const UP_WITHIN = 15_000;
const STOPPED_WITHIN = 3000;
const READINESS_EVERY = 3;

const children = new Set<ChildProcess>();

/** Ends what runs still, at once: for a benchmark that is called off. */
export function endAll(): void {
  for (const child of children) child.kill("SIGTERM");
}

/** Starts a process and waits until it listens; throws where the port was taken or another process listens on it. */
export async function start(
  command: Command,
  clock: Clock,
  within: number = UP_WITHIN,
): Promise<Running> {
  const running = await launch(command, clock);
  const until = clock.now() + within;
  while (!(await answers(command.port))) {
    if (running.ended() || clock.now() > until) {
      await running.stop();
      throw new UserError(
        `${command.name} does not listen on ${command.port}: ${running.complaint()}`,
      );
    }
    await wait(clock, 20, new AbortController().signal);
  }
  try {
    running.guard();
  } catch (error) {
    await running.stop();
    throw error;
  }
  return running;
}

/** Starts a process and waits for nothing. */
export async function launch(command: Command, clock: Clock): Promise<Running> {
  if (await answers(command.port))
    throw new UserError(
      `port ${command.port} is taken: something else than ${command.name} would be measured`,
    );
  const pinned =
    command.cores === undefined
      ? [command.command, ...command.args]
      : ["taskset", "-c", command.cores, command.command, ...command.args];
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
  children.add(child);
  const stopped = exit(child).then(() => void children.delete(child));
  const ended = (): boolean =>
    child.exitCode !== null || child.signalCode !== null;
  const alive = <T>(look: () => T): T => {
    if (ended())
      throw new UserError(`${command.name} ended by itself: ${complaint}`);
    return look();
  };
  return {
    name: command.name,
    pid,
    cpu: () => alive(() => cpuOf(pid)),
    threads: () => alive(() => threadsOf(pid)),
    rss: () => alive(() => rssOf(pid)),
    ended,
    complaint: () => complaint,
    // taskset and Envoy's launcher replace themselves: the listener must be this pid or a child of it.
    guard() {
      if (!listens(pid, command.port))
        throw new UserError(
          `the listener on ${command.port} is not ${command.name}: the measurement would be of another process`,
        );
    },
    async stop() {
      child.kill("SIGTERM");
      const cancel = clock.after(
        STOPPED_WITHIN,
        () => void child.kill("SIGKILL"),
      );
      await stopped;
      cancel();
    },
  };
}

/** Waits until a page answers 200, looking every few milliseconds; then guards. */
export async function untilReady(
  running: Running,
  page: { readonly port: number; readonly path: string },
  clock: Clock,
  within: number = UP_WITHIN,
): Promise<void> {
  const until = clock.now() + within;
  while ((await statusOf(page.port, page.path)) !== 200) {
    if (running.ended() || clock.now() > until)
      throw new UserError(
        `${running.name} is not ready: ${running.complaint()}`,
      );
    await wait(clock, READINESS_EVERY, new AbortController().signal);
  }
  running.guard();
}

function statusOf(port: number, path: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    get({ host: "127.0.0.1", port, path, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on("error", () => resolve(undefined));
  });
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
  for (const each of family(pid)) ticks += ticksIn(`/proc/${each}/stat`);
  return ticks / TICKS_A_SECOND;
}

function threadsOf(pid: number): ReadonlyMap<number, number> {
  return new Map(
    family(pid).flatMap((each) =>
      readdirSync(`/proc/${each}/task`).map((thread) => [
        Number(thread),
        ticksIn(`/proc/${each}/task/${thread}/stat`) / TICKS_A_SECOND,
      ]),
    ),
  );
}

function ticksIn(file: string): number {
  const stat = readFileSync(file, "utf8");
  // The command's name, in parentheses, may hold blanks: fields are counted from behind it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
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
