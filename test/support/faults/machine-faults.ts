/** A mesh of processes under load, from each of which a test takes what the machine gives: disk, file handles, the reader of its log. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import {
  Agent,
  createServer,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { call, eventually, openLoad, type Called } from "../peers/call.ts";
import { fill, limitFileSize, smallDisk } from "./full-disk.ts";
import { startPlane, type PlaneProcess } from "../processes/plane-process.ts";
import {
  startSidecarProcess,
  untilReady,
  type SidecarProcess,
} from "../processes/sidecar-process.ts";
import type { WherryProcess } from "../processes/wherry-process.ts";

/** Whose machine it is. */
export type Part = "plane" | "caller" | "callee";

/** Call the result to give back what was taken; undefined where the fault cannot be made here. */
export type TakeAway = (
  process: WherryProcess,
  state: string,
) => (() => Promise<void> | void) | undefined;

/** Calls a second. */
const RATE = 50;
/**
 * Connections of the load, and calls at once. All are open on the whole way before a fault begins: who has no file handle left takes no
 * new connection, and is not asked to.
 */
const CONNECTIONS = 4;
/** Each call there is held until as many have come as there are connections. */
const TOGETHER = "/together";
const SMALL = 16 * 1024 * 1024;

export interface FaultBed {
  readonly plane: PlaneProcess;
  readonly caller: SidecarProcess;
  readonly callee: SidecarProcess;
  processOf(part: Part): WherryProcess;
  stateOf(part: Part): string;
  /** Puts the Service `shop/orders` with another annotation; gives the status. */
  change(): Promise<number>;
  /** Resolves once the caller has the newest revision in force and on its disk. */
  settled(within: number): Promise<void>;
  /** Calls of the application through caller and callee, evenly spaced, on connections that are open once it resolves. */
  load(): Promise<{ stop(): Promise<readonly Called[]> }>;
  close(): Promise<void>;
}

export async function startFaultBed(): Promise<FaultBed> {
  const root = mkdtempSync(join(tmpdir(), "wherry-faults-"));
  const closers: (() => Promise<void> | void)[] = [
    () => rmSync(root, { recursive: true, force: true }),
  ];
  const close = async (): Promise<void> => {
    for (const each of closers.splice(0).reverse()) await each();
  };
  try {
    const states = {} as Record<Part, string>;
    for (const part of ["plane", "caller", "callee"] as const) {
      const disk = smallDisk(SMALL);
      states[part] = disk?.directory ?? join(root, part);
      if (disk !== undefined) closers.push(() => disk.unmount());
    }
    const plane = await startPlane(states.plane);
    closers.push(() => plane.process.stop());
    let changes = 0;
    const change = async (): Promise<number> => {
      changes += 1;
      return (await putOrders(plane, String(changes))).status;
    };
    await change();
    const sidecar = async (
      account: string,
      part: Part,
    ): Promise<SidecarProcess> => {
      const application = startApplication();
      await once(application, "listening");
      closers.push(() => {
        application.closeAllConnections();
        application.close();
      });
      const made = await startSidecarProcess({
        push: plane.push,
        account,
        state: states[part],
        application: (application.address() as AddressInfo).port,
        token: await plane.token(account),
      });
      closers.push(() => made.process.stop());
      await untilReady(account, made);
      return made;
    };
    const callee = await sidecar("orders", "callee");
    const caller = await sidecar("web", "caller");
    const processes = {
      plane: plane.process,
      caller: caller.process,
      callee: callee.process,
    };
    const bed: FaultBed = {
      ...{ plane, caller, callee, change, close },
      processOf: (part) => processes[part],
      stateOf: (part) => states[part],
      settled: (within) => untilSettled(plane, caller, within),
      load: () => startLoad(caller),
    };
    await eventually(
      "the first call",
      10_000,
      () => callOrders(caller),
      ({ status }) => status === 200,
    );
    return bed;
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

function putOrders(plane: PlaneProcess, note: string): Promise<Called> {
  return plane.ask(
    "PUT",
    "/apis/mesh.wherry.dev/v1alpha1/namespaces/shop/services/orders",
    {
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Service",
      metadata: { name: "orders", namespace: "shop", annotations: { note } },
      spec: {
        ports: [{ name: "http", port: 80, appProtocol: "http" }],
        selector: { app: "orders" },
      },
    },
  );
}

function startApplication(): Server {
  const held: ServerResponse[] = [];
  const application = createServer(({ url }, response) => {
    if (url !== TOGETHER) {
      response.end("hello");
      return;
    }
    held.push(response);
    if (held.length < CONNECTIONS) return;
    for (const each of held.splice(0)) each.end("all are here");
  });
  // For longer than a fault lasts: none of its connections is to be opened anew meanwhile.
  application.keepAliveTimeout = 60_000;
  return application.listen(0, "127.0.0.1");
}

async function startLoad(
  caller: SidecarProcess,
): Promise<{ stop(): Promise<readonly Called[]> }> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  await Promise.all(
    Array.from({ length: CONNECTIONS }, () =>
      callOrders(caller, TOGETHER, agent),
    ),
  );
  const load = openLoad(RATE, () => callOrders(caller, "/", agent));
  return {
    async stop() {
      const results = await load.stop();
      agent.destroy();
      return results;
    },
  };
}

function callOrders(
  { outbound }: SidecarProcess,
  path = "/",
  agent?: Agent,
): Promise<Called> {
  return call(`http://127.0.0.1:${outbound}${path}`, {
    headers: { host: "orders.shop" },
    ...(agent === undefined ? {} : { agent }),
  });
}

async function untilSettled(
  plane: PlaneProcess,
  caller: SidecarProcess,
  within: number,
): Promise<void> {
  const { text } = await plane.ask("GET", "/store");
  const { revision } = JSON.parse(text) as { readonly revision: number };
  await eventually(
    `the caller has revision ${revision} and nothing to complain of`,
    within,
    async () => {
      const config = await call(`http://127.0.0.1:${caller.admin}/config`);
      const view = JSON.parse(config.text) as {
        readonly version?: { readonly revision: number };
        readonly lastError?: string;
      };
      return {
        at: view.version?.revision ?? 0,
        error: view.lastError,
        text: config.text.slice(0, 600),
      };
    },
    ({ at, error }) => at >= revision && error === undefined,
  );
}

/** No room: a file system of memory that is full, or, where that may not be mounted, files that may not grow. */
export const fullDisk: TakeAway = (process, state) =>
  isMounted(state) ? fill(state) : limitFileSize(process.pid, 4096);

/** How often a disk is asked to be read alone, until nothing is open for writing on it. */
const REMOUNTS = 200;

/** It may only be read. For a sidecar, which has something open there for moments alone: until then the mount stays as it is. */
export const readOnlyDisk: TakeAway = (_process, state) => {
  if (!isMounted(state)) return undefined;
  const mount = (how: string): void => {
    execFileSync("mount", ["-o", `remount,${how}`, state], { stdio: "pipe" });
  };
  for (let tries = 1; ; tries += 1)
    try {
      mount("ro");
      return () => mount("rw");
    } catch (thrown) {
      if (tries === REMOUNTS) throw thrown;
    }
};

/** The same under an open database, as with a file system that found itself damaged: what is open is open, and no call that writes gets through. */
export const readOnlyDatabase: TakeAway = (process, state) =>
  injectedCalls(
    "pwrite64,pwritev,ftruncate,fallocate,fsync,fdatasync,rename,unlink",
    "error=EROFS",
  )(process, state);

/** No file handle beyond those that it has: the lowest free number is what the next one would get. */
export const noHandles: TakeAway = ({ pid }) => {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let free = 0;
  while (open.has(free)) free += 1;
  const limit = (value: string): void => {
    execFileSync("prlimit", ["--pid", String(pid), `--nofile=${value}:`]);
  };
  const before = execFileSync("prlimit", [
    ...["--pid", String(pid), "--nofile", "--output", "SOFT", "--noheadings"],
  ]);
  limit(String(free));
  return () => limit(before.toString().trim());
};

export const blockedLog: TakeAway = (process) => {
  process.blockLog();
  return () => process.unblockLog();
};

/** System calls of the process fail (`error=EIO`) or are slow (`delay_enter=MICROSECONDS`), as strace has it: what no limit and no mount brings about. */
export function injectedCalls(calls: string, fault: string): TakeAway {
  return ({ pid }) => {
    if (spawnSync("strace", ["-V"], { stdio: "ignore" }).status !== 0)
      return undefined;
    const strace = spawn(
      "strace",
      [
        ...["-f", "-qq", "-o", "/dev/null", "-p", String(pid)],
        ...["-e", `trace=${calls}`, "-e", `inject=${calls}:${fault}`],
      ],
      { stdio: "ignore" },
    );
    const ended = once(strace, "exit");
    return async () => {
      strace.kill("SIGINT");
      await ended;
    };
  };
}

function isMounted(state: string): boolean {
  return state.includes("wherry-disk-");
}
