/** A control plane and sidecars as processes of their own, whose machine a test takes away: each with its state directory, its log and its limits. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { MAIN } from "../../../src/runtime/package.ts";
import { call, eventually, type Called } from "../peers/call.ts";
import { cleanEnvironment, ROOT } from "./demo.ts";

export interface WherryOptions {
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
  { nodeFlags = [], prefix = [], environment = {} }: WherryOptions = {},
): WherryProcess {
  const [command = "", ...rest] = [
    ...prefix,
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    ...nodeFlags,
    // Not by the launcher, which starts Node anew without these flags.
    MAIN,
    ...args,
  ];
  const pipe = openPipe();
  const child: ChildProcess = spawn(command, rest, {
    cwd: ROOT,
    env: cleanEnvironment(environment),
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

export interface PlaneProcess {
  readonly process: WherryProcess;
  /** "http://127.0.0.1:15080" */
  readonly api: string;
  /** "127.0.0.1:15012" */
  readonly push: string;
  readonly ask: (
    method: "GET" | "PUT" | "POST" | "DELETE",
    path: string,
    body?: unknown,
  ) => Promise<Called>;
  /** An enrolment token of `shop/ACCOUNT`. */
  readonly token: (account: string) => Promise<string>;
}

const WITHIN = 20_000;

/** Resolves once it is ready. `ports`: those of a plane that ran before. */
export async function startPlane(
  state: string,
  options: WherryOptions & {
    readonly ports?: { readonly api: string; readonly push: string };
  } = {},
): Promise<PlaneProcess> {
  const { api: apiAddress = "127.0.0.1:0", push: pushAddress = "127.0.0.1:0" } =
    options.ports ?? {};
  const process = startWherry(
    [
      ...["control-plane", "--state", state, "--profile", "development"],
      ...["--api", apiAddress, "--push", pushAddress],
    ],
    options,
  );
  try {
    const [, api = "", push = ""] = await eventually(
      "the control plane is up",
      WITHIN,
      () => {
        throwIfEnded(process);
        return Promise.resolve(
          /"api":"([^"]+)","push":"([^"]+)"/.exec(process.log) ?? [],
        );
      },
      (found) => found.length > 0,
    );
    const admin = (await readFile(join(state, "admin.token"), "utf8")).trim();
    const ask: PlaneProcess["ask"] = (method, path, body) =>
      call(`${api}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${admin}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    const token = async (account: string): Promise<string> => {
      const { status, text } = await ask("POST", "/tokens/enrolment", {
        namespace: "shop",
        serviceAccount: account,
        labels: { app: account },
        ttl: "1h",
        uses: 1,
      });
      if (status !== 201) throw new Error(`no token: ${status} ${text}`);
      return (JSON.parse(text) as { token: string }).token;
    };
    return { process, api, push, ask, token };
  } catch (thrown) {
    await process.stop();
    throw thrown;
  }
}

export interface SidecarProcess {
  readonly process: WherryProcess;
  readonly outbound: number;
  readonly admin: number;
  readonly metrics: number;
  /** The status of its readiness; 0 where nobody answers. */
  ready(): Promise<number>;
  /** The sum of the series whose line begins with `name` and contains all of `parts`. */
  metric(name: string, ...parts: string[]): Promise<number>;
}

export interface SidecarProcessOptions extends WherryOptions {
  readonly push: string;
  /** Also its name, with "-1". */
  readonly account: string;
  readonly state: string;
  /** Port of its application on 127.0.0.1. */
  readonly application: number;
  readonly token?: string;
  readonly more?: readonly string[];
}

/** Not waited for: `untilReady` does. */
export async function startSidecarProcess(
  options: SidecarProcessOptions,
): Promise<SidecarProcess> {
  const { push, account, state, application, token, more = [] } = options;
  const process = startWherry(
    [
      ...["sidecar", "--control-plane", push, "--state", state],
      ...["--name", `${account}-1`, "--address", "127.0.0.1"],
      ...["--app-port", `http=${application}`],
      ...["--host", "127.0.0.1", "--no-capture"],
      ...["outbound", "link", "admin", "metrics"].flatMap((name) => [
        `--${name}-port`,
        "0",
      ]),
      ...(token === undefined ? [] : ["--token", token]),
      ...more,
    ],
    options,
  );
  const portOf = (name: string): number =>
    Number(new RegExp(`"${name}":(\\d+)`).exec(process.log)?.[1] ?? 0);
  try {
    await eventually(
      `the sidecar of ${account} listens`,
      WITHIN,
      () => {
        throwIfEnded(process);
        return Promise.resolve(portOf("metrics"));
      },
      (port) => port !== 0,
    );
  } catch (thrown) {
    await process.stop();
    throw thrown;
  }
  const page = (path: string): Promise<Called> =>
    call(`http://127.0.0.1:${portOf("metrics")}${path}`);
  return {
    process,
    outbound: portOf("outbound"),
    admin: portOf("admin"),
    metrics: portOf("metrics"),
    ready: async () => (await page("/readyz")).status,
    async metric(name, ...parts) {
      const { text } = await page("/metrics");
      return text
        .split("\n")
        .filter(
          (line) =>
            line.startsWith(name) && parts.every((part) => line.includes(part)),
        )
        .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    },
  };
}

export async function untilReady(
  what: string,
  { process, ready }: Pick<SidecarProcess, "process" | "ready">,
  within: number = WITHIN,
): Promise<void> {
  await eventually(
    `${what} is ready`,
    within,
    () => {
      throwIfEnded(process);
      return ready();
    },
    (status) => status === 200,
  );
}

function throwIfEnded({ ended, log }: WherryProcess): void {
  if (ended !== undefined)
    throw new Error(
      `it ended with ${String(ended.code ?? ended.signal)}: ${log}`,
    );
}
