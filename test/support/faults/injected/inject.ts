/**
 * Loaded before a process of a test (`--import`): each call of the machine that the source makes fails once, as the system has it fail;
 * and once more when the process serves. What has failed is in a file, which all threads share.
 */
import childProcess from "node:child_process";
import dgram from "node:dgram";
import dns from "node:dns";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import os from "node:os";
import { join } from "node:path";
import sqlite from "node:sqlite";
import tls from "node:tls";
import workers from "node:worker_threads";

// The shapes of Node's own functions do not matter here: arguments and results go through as they are.
type Callable = (this: unknown, ...args: unknown[]) => unknown;
type Shape = Record<string, Callable>;
/** Calls the function, or has the call fail. */
type Fail = (
  call: () => unknown,
  error: Error,
  args: unknown[],
  self: unknown,
) => unknown;

const directory = process.env["WHERRY_INJECTED"] ?? "";
const failedFile = join(directory, "failed");
const servesFile = join(directory, "serves");
const { appendFileSync, existsSync, readFileSync } = fs;

const failed = new Set(
  existsSync(failedFile) ? readFileSync(failedFile, "utf8").split("\n") : [],
);

/** "core/directory.ts:41", where the source itself makes the call. */
function callerInSource(): string | undefined {
  const { stack = "" } = new Error("where");
  const frame = stack
    .split("\n")
    .slice(1)
    .find((line) => !/\(node:|at node:|injected\/inject\.ts/.test(line));
  return /\/src\/([^:]+\.ts:\d+)/.exec(frame ?? "")?.[1];
}

const OF_HANDLES =
  /^(?:open|opendir|openSync|connect|listen|bind|readFile|networkInterfaces)$/;

function errorOf(name: string, args: readonly unknown[]): Error {
  const code =
    name === "lookup" ? "EAI_AGAIN" : OF_HANDLES.test(name) ? "EMFILE" : "EIO";
  const path = typeof args[0] === "string" ? ` '${args[0]}'` : "";
  return Object.assign(new Error(`${code}: made by a test, ${name}${path}`), {
    code,
    errno: code === "EIO" ? -5 : -24,
    syscall: name,
  });
}

let depth = 0;

function within<T>(run: () => T): T {
  depth += 1;
  try {
    return run();
  } finally {
    depth -= 1;
  }
}

/** Undefined where the call is not the source's, or has failed before. */
function nextFault(name: string): string | undefined {
  const at = callerInSource();
  if (at === undefined) return undefined;
  const phase = existsSync(servesFile) ? "serves" : "starts";
  const line = `${phase} ${at} ${name}`;
  if (failed.has(line)) return undefined;
  failed.add(line);
  appendFileSync(failedFile, `${line}\n`);
  return line;
}

function wrap(shape: object, names: readonly string[], fail: Fail): void {
  for (const name of names) {
    const functions = shape as Shape;
    const real = functions[name];
    if (typeof real !== "function") continue;
    const wrapped = function (this: unknown, ...args: unknown[]): unknown {
      const call = (): unknown => within(() => Reflect.apply(real, this, args));
      // What Node calls of itself is not the source's.
      if (depth > 0) return call();
      const line = within(() => nextFault(name));
      return line === undefined
        ? call()
        : fail(call, errorOf(name, args), args, this);
    };
    Object.assign(wrapped, real);
    functions[name] = wrapped;
  }
}

const rejects: Fail = (_call, error) => Promise.reject(error);
const throws: Fail = (_call, error) => {
  throw error;
};
/** In place of what it would do. */
const emits: Fail = (_call, error, _args, self) => {
  process.nextTick(() => (self as net.Server).emit("error", error));
  return self;
};
const callsBack: Fail = (_call, error, args, self) => {
  const done = args.at(-1);
  if (typeof done !== "function") return emits(_call, error, args, self);
  process.nextTick(done, error);
  return undefined;
};
const destroys: Fail = (call, error) => {
  const socket = call() as net.Socket;
  process.nextTick(() => socket.destroy(error));
  return socket;
};
const PRELOAD = ["--import", import.meta.url];
const SYNC = Object.keys(fs).filter(
  (name) => name.endsWith("Sync") && name !== "existsSync",
);
const PROMISES = Object.keys(fs.promises);
const handle = await fs.promises.open("/dev/null");
const handles = Object.getPrototypeOf(handle) as object;
await handle.close();

wrap(fs, [...SYNC, "watch"], throws);
wrap(
  fs,
  [
    ...PROMISES.filter((name) => name in fs && name !== "watch"),
    ...["close", "fdatasync", "fsync", "read", "write", "writev"],
  ],
  callsBack,
);
wrap(fs.promises, PROMISES, rejects);
wrap(
  handles,
  ["chmod", "datasync", "read", "readFile", "stat", "sync"].concat([
    "truncate",
    "write",
    "writeFile",
    "writev",
    "readv",
  ]),
  rejects,
);
wrap(dns, ["lookup", "resolve4", "resolve6"], callsBack);
wrap(dns.promises, ["lookup", "resolve4", "resolve6"], rejects);
wrap(net, ["connect", "createConnection"], destroys);
wrap(tls, ["connect"], destroys);
wrap(net.Server.prototype, ["listen"], emits);
wrap(dgram.Socket.prototype, ["bind"], emits);
wrap(dgram.Socket.prototype, ["send"], callsBack);
wrap(os, ["hostname", "networkInterfaces", "userInfo", "uptime"], throws);
wrap(childProcess, ["execFile"], callsBack);
wrap(childProcess, ["execFileSync", "spawnSync"], throws);
wrap(sqlite.DatabaseSync.prototype, ["exec", "prepare"], throws);
wrap(sqlite.StatementSync.prototype, ["all", "get", "iterate", "run"], throws);
wrapConstructor(
  workers,
  "Worker",
  (Real, error) =>
    // A thread that cannot begin is told of by an event, as one is that ends by an error.
    new Real(
      `throw Object.assign(new Error(${JSON.stringify(error.message)}))`,
      {
        eval: true,
      },
    ),
);
wrapConstructor(sqlite, "DatabaseSync", (_Real, error) => {
  throw error;
});
syncBuiltinESMExports();

type Constructor = new (...args: unknown[]) => object;

function wrapConstructor(
  shape: object,
  name: string,
  fail: (real: Constructor, error: Error) => object,
): void {
  const classes = shape as Record<string, Constructor>;
  const real = classes[name];
  if (real === undefined) return;
  classes[name] = new Proxy(real, {
    construct(target, args: unknown[], self) {
      return depth === 0 && within(() => nextFault(name)) !== undefined
        ? fail(target, errorOf(name, args))
        : within(() => {
            const [first, options] = args;
            // Some threads are given nothing of what the process was started with.
            const given =
              name === "Worker"
                ? [first, { ...(options as object), execArgv: PRELOAD }]
                : args;
            return Reflect.construct(target, given, self) as object;
          });
    },
  });
}
