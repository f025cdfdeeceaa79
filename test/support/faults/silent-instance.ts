/**
 * Calls to two instances while one of them falls silent and comes back: a program, so that it can run in a network of its own.
 *
 * ```
 *   open loop ──▶ sidecar of web ──▶ sidecar of orders-1 ──▶ application     its sidecar stops (SIGSTOP), or its packets are dropped
 *                              └───▶ sidecar of orders-2 ──▶ application
 * ```
 * Prints a line once all is started, then what became of each call as a line of JSON, and a last line.
 */
import { execFileSync } from "node:child_process";
import { createServer, type Server } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { join } from "node:path";
import { freePort } from "../../../src/demo/free-port.ts";
import {
  call,
  closeCalls,
  openLoad,
  paced,
  type Called,
} from "../peers/call.ts";
import { fakeAuthority } from "../certificates/certificate-authority.ts";
import {
  startFileSidecar,
  untilReady,
  type SidecarProcess,
} from "../processes/sidecar-process.ts";
import { OPEN_MESH, ORDERS_SERVICE } from "../resources/yaml.ts";

export type Fault = "stop" | "drop";
export type Methods = "GET" | "POST" | "mixed";

/** Milliseconds of each part of the run. */
const QUIET = 2000;
const SILENT = 6000;
const BACK = 5000;
const RATE = 200;
/** Calls before it all, so that everything is compiled and connected. */
const WARM_UP = 400;
/** Milliseconds after which a customer gives up. */
const PATIENCE = 5000;

export interface SilentCall {
  readonly method: string;
  /** Milliseconds from the beginning of the silence; the call began then. */
  readonly at: number;
  readonly ms: number;
  readonly status: number;
  /** Empty where the answer has none. */
  readonly reason: string;
  readonly text: string;
}

interface Ejection {
  readonly endpoint: string;
  readonly reason: string;
  readonly evidence: string;
}

export interface SilentRun {
  /** Milliseconds from the beginning of the silence to its end. */
  readonly backAt: number;
  /** Calls that were under way when the silence began. */
  readonly inFlight: number;
  readonly calls: readonly SilentCall[];
  /** Orders that an application has executed more than once. */
  readonly twice: readonly string[];
  /** What the caller's sidecar has logged of each ejection. */
  readonly ejections: readonly Ejection[];
}

const RESOURCES = `${OPEN_MESH}---${ORDERS_SERVICE}`;

function workload(name: string, link: number): string {
  return `---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: shop, labels: { app: orders } }
spec:
  address: 127.0.0.1
  ports: { http: 80 }
  serviceAccount: orders
  link: { port: ${link} }
`;
}

const executed = new Map<string, number>();

async function application(name: string): Promise<Server> {
  const server = createServer((request, response) => {
    const { method = "", url = "" } = request;
    if (method === "POST") executed.set(url, (executed.get(url) ?? 0) + 1);
    request.resume();
    request.on("end", () => response.end(name));
  });
  await new Promise<void>(
    (resolve) => void server.listen(0, "127.0.0.1", resolve),
  );
  return server;
}

const authority = fakeAuthority();

async function sidecar(
  directory: string,
  name: string,
  account: string,
  resources: string,
  more: readonly string[],
): Promise<SidecarProcess> {
  const started = await startFileSidecar({
    name,
    app: account,
    resources,
    credentials: authority.credentials(account),
    directory: join(directory, name),
    more,
  });
  await untilReady(name, started);
  return started;
}

/** What makes the instance silent, and what ends that. */
function faultOf(
  kind: Fault,
  pid: number,
  link: number,
): { readonly begin: () => void; readonly end: () => void } {
  if (kind === "stop")
    return {
      begin: () => process.kill(pid, "SIGSTOP"),
      end: () => process.kill(pid, "SIGCONT"),
    };
  const rules = (order: string): void => {
    for (const end of ["--dport", "--sport"])
      execFileSync("iptables", [
        ...[order, "INPUT", "-i", "lo", "-p", "tcp"],
        ...[end, String(link), "-j", "DROP"],
      ]);
  };
  return { begin: () => rules("-A"), end: () => rules("-D") };
}

async function run(fault: Fault, methods: Methods): Promise<SilentRun> {
  const state = await mkdtemp(join(tmpdir(), "wherry-silent-"));
  const sidecars: SidecarProcess[] = [];
  const servers: Server[] = [];
  const links: number[] = [];
  try {
    for (const name of ["orders-1", "orders-2"]) {
      const app = await application(name);
      servers.push(app);
      const link = await freePort();
      links.push(link);
      const { port } = app.address() as AddressInfo;
      const callee = await sidecar(state, name, "orders", RESOURCES, [
        ...["--app-port", `http=${port}`, "--link-port", String(link)],
      ]);
      sidecars.push(callee);
    }
    const caller = await sidecar(
      state,
      "web-1",
      "web",
      RESOURCES +
        links.map((link, at) => workload(`orders-${at + 1}`, link)).join(""),
      [],
    );
    sidecars.push(caller);
    process.stdout.write("started\n");
    return await load(caller, fault, methods, sidecars[0], links[0] ?? 0);
  } finally {
    for (const { process } of sidecars) await process.stop();
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    closeCalls();
    await rm(state, { recursive: true, force: true });
  }
}

async function load(
  caller: SidecarProcess,
  fault: Fault,
  methods: Methods,
  victim: SidecarProcess | undefined,
  link: number,
): Promise<SilentRun> {
  const { begin, end } = faultOf(fault, victim?.process.pid ?? 0, link);
  const calls: { method: string; began: number; called: Called }[] = [];
  const make = async (index: number): Promise<Called> => {
    const method =
      methods === "mixed" ? (index % 2 === 0 ? "GET" : "POST") : methods;
    const began = performance.now();
    const called = await patiently(
      call(`http://127.0.0.1:${caller.outbound}/${index}`, {
        method,
        headers: { host: "orders.shop" },
        ...(method === "POST" ? { body: `order ${index}` } : {}),
      }),
    );
    calls.push({ method, began, called });
    return called;
  };
  await paced(WARM_UP, RATE, make);
  calls.length = 0;
  let begun = 0;
  const traffic = openLoad(RATE, (index) => {
    begun += 1;
    return make(WARM_UP + index);
  });
  await passing(QUIET);
  const began = performance.now();
  const inFlight = begun - calls.length;
  begin();
  await passing(SILENT);
  end();
  const backAt = performance.now() - began;
  await passing(BACK);
  await traffic.stop();
  return {
    backAt,
    inFlight,
    calls: calls.map((each) => ({
      method: each.method,
      at: each.began - began,
      ms: each.called.ms,
      status: each.called.status,
      reason: String(each.called.headers["x-wherry-reason"] ?? ""),
      text: each.called.text.slice(0, 200),
    })),
    twice: [...executed].filter(([, count]) => count > 1).map(([path]) => path),
    ejections: caller.process.log
      .split("\n")
      .filter((line) => line.includes("endpoint ejected"))
      .map((line) => JSON.parse(line) as Ejection),
  };
}

async function patiently(calling: Promise<Called>): Promise<Called> {
  const text = `gave up after ${PATIENCE} ms`;
  const given = { status: 0, headers: {}, text, ms: PATIENCE };
  const over = new AbortController();
  const giveUp = wait(PATIENCE, given, { signal: over.signal });
  giveUp.catch(() => undefined);
  try {
    return await Promise.race([calling, giveUp]);
  } finally {
    over.abort();
  }
}

function passing(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}

const [, , fault, methods] = process.argv;
const result = await run(fault as Fault, methods as Methods);
process.stdout.write(`${JSON.stringify(result)}\ndone\n`);
