/**
 * Hosts made of network namespaces, for what only packets between machines can show.
 *
 * ```
 *   namespace "a" eth0 ─┐                       ┌─ root namespace: the test, the control plane
 *   namespace "b" eth0 ─┼─ bridge in a namespace ┘  of its own, where no rule of this machine acts on it
 * ```
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import type { ChildProcess, SpawnSyncReturns } from "node:child_process";
import { randomInt } from "node:crypto";
import { networkInterfaces } from "node:os";
import { cleanEnvironment, ROOT, type Ran } from "../processes/demo.ts";
import { eventually } from "../peers/call.ts";

export interface RunOptions {
  /** Whom the process runs as; root where absent. */
  readonly uid?: number;
  readonly environment?: Readonly<Record<string, string>>;
}

/** A process that goes on until it is stopped. */
export interface Daemon {
  readonly pid: number;
  /** Standard output, whole lines. */
  readonly lines: readonly string[];
  /** Everything printed, for messages. */
  readonly printed: string;
  /** Resolves with the output once it holds `text`. */
  prints(text: string): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Where processes can be run: one host, or the machine itself. */
export interface Machine {
  readonly ipv4: string;
  /** As RFC 5952 writes it. */
  readonly ipv6: string;
  run(command: readonly string[], options?: RunOptions): Promise<Ran>;
  start(command: readonly string[], options?: RunOptions): Daemon;
}

export interface Host extends Machine {
  readonly name: string;
}

export interface Network {
  readonly hosts: ReadonlyMap<string, Host>;
  /** The machine itself, on the same bridge (IPv4 alone). */
  readonly machine: Machine;
  /** Inside the bridge: its ports are named as the hosts are. */
  readonly wire: Machine;
  /** Ends every process that was started here, and takes the namespaces away. */
  close(): Promise<void>;
}

const TOOLS: readonly (readonly [string, ...string[]])[] = [
  ["ip", "-V"],
  ["setpriv", "--version"],
  ["iptables-restore", "--version"],
  ["ip6tables-restore", "--version"],
  ["tcpdump", "--version"],
  ["curl", "--version"],
];

/** Why hosts cannot be made here; undefined where they can. */
export function whyNoHosts(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  for (const [tool, ...args] of TOOLS)
    try {
      execFileSync(tool, args, { stdio: "ignore" });
    } catch (error) {
      return `${tool} does not run: ${String(error)}`;
    }
  const probe = `${PREFIX}${process.pid}-probe`;
  try {
    quietly(["netns", "add", probe]);
    quietly(["-n", probe, "-6", "addr", "add", "fd00::1/64", "dev", "lo"]);
    return undefined;
  } catch (error) {
    const { stderr } = error as Partial<SpawnSyncReturns<Buffer>>;
    return `network namespaces with IPv6 cannot be made: ${String(stderr ?? error).trim()}`;
  } finally {
    removeNamespaces(process.pid);
  }
}

/** Made by this process. */
let networks = 0;
const PREFIX = "wherry-";
const BRIDGE = "bridge";

export function makeNetwork(names: readonly string[]): Network {
  const { pid } = process;
  removeStale();
  const net = freeNetwork();
  const namespaceOf = (name: string): string => `${PREFIX}${pid}-${name}`;
  const hub = namespaceOf(BRIDGE);
  // The kernel takes an interface away some time after its namespace: the next network's has another name.
  const own = `wh${pid}-${(networks += 1)}`;
  const daemons = new Set<Daemon>();
  const removeAll = (): void => removeNamespaces(pid);
  // What a test that broke leaves behind must not meet the next one; its processes die with it (see `command`).
  process.once("exit", removeAll);

  const place = (
    namespace: string | undefined,
    address: { ipv4: string; ipv6: string },
  ): Machine => ({
    ...address,
    run: (command, options = {}) => runIn(namespace, command, options),
    start(command, options = {}) {
      const daemon = startIn(namespace, command, options);
      daemons.add(daemon);
      return daemon;
    },
  });
  try {
    batch([
      `netns add ${hub}`,
      `link add ${BRIDGE} netns ${hub} type bridge`,
      `link add ${own} type veth peer name machine netns ${hub}`,
      `addr add ${net.ipv4(254)}/24 dev ${own}`,
      `link set ${own} up`,
    ]);
    batch([`link set ${BRIDGE} up`, ...joined("machine")], hub);
    const hosts = new Map<string, Host>();
    for (const [index, name] of names.entries()) {
      const namespace = namespaceOf(name);
      const ipv4 = net.ipv4(index + 1);
      const ipv6 = net.ipv6(index + 1);
      batch([
        `netns add ${namespace}`,
        `link add eth0 netns ${namespace} type veth peer name ${name} netns ${hub}`,
      ]);
      batch(joined(name), hub);
      batch(
        [
          "link set lo up",
          `addr add ${ipv4}/24 dev eth0`,
          // Without duplicate address detection it is there at once.
          `addr add ${ipv6}/64 dev eth0 nodad`,
          "link set eth0 up",
        ],
        namespace,
      );
      hosts.set(name, { name, ...place(namespace, { ipv4, ipv6 }) });
    }
    const machine = place(undefined, { ipv4: net.ipv4(254), ipv6: "" });
    const wire = place(hub, { ipv4: "", ipv6: "" });
    return {
      hosts,
      machine,
      wire,
      async close() {
        await Promise.all([...daemons].map((daemon) => daemon.stop()));
        removeAll();
        process.off("exit", removeAll);
      },
    };
  } catch (error) {
    removeAll();
    throw error;
  }
}

function joined(port: string): string[] {
  return [`link set ${port} master ${BRIDGE}`, `link set ${port} up`];
}

/** A network that this machine has no address in, out of those that are kept for such tests (RFC 2544, RFC 4193). */
function freeNetwork(): { ipv4(n: number): string; ipv6(n: number): string } {
  const taken = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .map(({ address }) => address);
  for (;;) {
    const [second, third] = [randomInt(18, 20), randomInt(1, 255)];
    const ipv4 = `198.${second}.${third}.`;
    if (taken.some((address) => address.startsWith(ipv4))) continue;
    return {
      ipv4: (n) => `${ipv4}${n}`,
      ipv6: (n) => `fd00:${second}:${third}::${n}`,
    };
  }
}

function quietly(args: readonly string[]): Buffer {
  return execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"] });
}

function batch(lines: readonly string[], namespace?: string): void {
  execFileSync(
    "ip",
    [...(namespace === undefined ? [] : ["-n", namespace]), "-batch", "-"],
    { input: `${lines.join("\n")}\n`, stdio: ["pipe", "pipe", "pipe"] },
  );
}

function namespaces(): string[] {
  return quietly(["netns", "list"])
    .toString()
    .split("\n")
    .map((line) => line.split(" ")[0] ?? "")
    .filter((name) => name.startsWith(PREFIX));
}

function removeNamespaces(pid: number): void {
  for (const name of namespaces())
    if (name.startsWith(`${PREFIX}${pid}-`)) quietly(["netns", "del", name]);
}

/** Those of test processes that were killed. */
function removeStale(): void {
  for (const name of namespaces()) {
    const pid = Number(name.slice(PREFIX.length).split("-")[0]);
    if (!Number.isInteger(pid)) continue;
    try {
      process.kill(pid, 0);
    } catch {
      removeNamespaces(pid);
    }
  }
}

/** The command line that runs `command` there, as that user, and ends it when the test's process ends, however that comes about. */
function commandLine(
  namespace: string | undefined,
  command: readonly string[],
  uid: number | undefined,
): [string, ...string[]] {
  const user =
    uid === undefined
      ? []
      : [
          ...[`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"],
          // The checkout may stand in a folder of root's alone; nothing else is granted.
          ...["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"],
        ];
  const run = ["--pdeathsig=KILL", ...user, ...command];
  return namespace === undefined
    ? ["setpriv", ...run]
    : ["ip", "netns", "exec", namespace, "setpriv", ...run];
}

function runIn(
  namespace: string | undefined,
  command: readonly string[],
  options: RunOptions,
): Promise<Ran> {
  const [file, ...args] = commandLine(namespace, command, options.uid);
  return new Promise((resolve) => {
    const child = execFile(
      file,
      args,
      {
        cwd: ROOT,
        env: cleanEnvironment(options.environment),
        timeout: 60_000,
        maxBuffer: 64 * 1024 * 1024,
      },
      (_error, stdout, stderr) =>
        resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

function startIn(
  namespace: string | undefined,
  command: readonly string[],
  options: RunOptions,
): Daemon {
  const [file, ...args] = commandLine(namespace, command, options.uid);
  const child = spawn(file, args, {
    cwd: ROOT,
    env: cleanEnvironment(options.environment),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let printed = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
    printed += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const daemon: Daemon = {
    pid: child.pid ?? 0,
    get lines() {
      return stdout.split("\n").slice(0, -1);
    },
    get printed() {
      return printed;
    },
    async prints(text) {
      await eventually(
        `"${text}" from ${command.join(" ")}`,
        20_000,
        () => Promise.resolve(printed),
        (now) => now.includes(text) || hasEnded(child),
      );
      if (!printed.includes(text))
        throw new Error(`${command.join(" ")} ended:\n${printed}`);
    },
    async stop(signal = "SIGTERM") {
      if (hasEnded(child)) return;
      const over = new Promise<void>(
        (resolve) => void child.once("exit", () => resolve()),
      );
      child.kill(signal);
      const hurry = setTimeout(() => child.kill("SIGKILL"), 8000);
      await over;
      clearTimeout(hurry);
    },
  };
  return daemon;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
