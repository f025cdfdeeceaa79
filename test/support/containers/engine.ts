/**
 * Podman in namespaces of its own, with all that it keeps in memory: when the first process in them ends, every container, interface,
 * packet rule and file is gone. That process ends with its standard input, so also when the test is killed.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { findTool } from "../processes/tools.ts";

const PARTS = ["podman", "runc", "unshare", "nsenter"] as const;

/** What is missing here for containers; nothing where all is there. */
export const ENGINE_MISSING: readonly string[] = [
  ...(process.getuid?.() === 0 ? [] : ["root"]),
  ...PARTS.filter((name) => findTool(name) === undefined),
];

/** Runs in the new namespaces before anything else. `cat` ends with the standard input. */
const BEGIN = `set -e
ip link set lo up
mkdir -p /etc/containers /var/lib/containers
for folder in /run /etc/containers /var/lib/containers /var/tmp; do mount -t tmpfs tmpfs $folder; done
mkdir -p /run/lock
printf '%s' "$CONTAINERS" > /etc/containers/containers.conf
printf '[storage]\\ndriver="overlay"\\ngraphroot="/var/lib/containers/storage"\\nrunroot="/run/containers/storage"\\n' > /etc/containers/storage.conf
printf '{"default":[{"type":"insecureAcceptAnything"}]}' > /etc/containers/policy.json
echo begun
exec cat`;

/** crun fails on machines with both versions of cgroups. A machine's hard limits may be lower than podman's defaults. */
const CONTAINERS = `[engine]
runtime="runc"
cgroup_manager="cgroupfs"
events_logger="none"
[network]
network_backend="netavark"
[containers]
log_driver="k8s-file"
default_ulimits=["nofile=4096:4096","nproc=4096:4096"]
`;

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Engine {
  /** The command and its arguments, run within the namespaces. */
  run(
    argv: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): Promise<Ran>;
  /** As `run`; rejects where the command fails. */
  must(
    argv: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): Promise<string>;
  /** What goes before a command so that it is in the namespaces. */
  readonly entering: readonly string[];
  close(): Promise<void>;
}

export async function startEngine(): Promise<Engine> {
  const child = spawn(
    findTool("unshare") ?? "unshare",
    [
      ...["--mount", "--net", "--pid", "--fork", "--kill-child"],
      ...["--mount-proc", "--propagation", "private"],
      ...["sh", "-c", BEGIN],
    ],
    {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, CONTAINERS },
    },
  );
  const [begun] = (await Promise.race([
    once(child.stdout, "data"),
    once(child, "exit"),
  ])) as [unknown];
  if (!Buffer.isBuffer(begun)) throw new Error("no namespaces can be made");
  const pid = child.pid ?? 0;
  const first = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  const entering = [
    findTool("nsenter") ?? "nsenter",
    ...[`--target=${first.trim()}`, "--mount", "--net", "--pid"],
  ];
  const run: Engine["run"] = (argv, environment = {}) =>
    runProcess([...entering, ...argv], environment);
  return {
    entering,
    run,
    async must(argv, environment) {
      const { code, out, err } = await run(argv, environment);
      if (code === 0) return out;
      throw new Error(`${argv.join(" ")} ended with ${code ?? ""}: ${err}`);
    },
    async close() {
      const over = once(child, "exit");
      child.stdin.end();
      await over;
      removeGroups();
    },
  };
}

async function runProcess(
  [command = "", ...args]: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<Ran> {
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out, err };
}

/** The one thing of podman's that is not in a namespace. A group that is in use by others stays. */
function removeGroups(): void {
  for (const controller of readdirSync("/sys/fs/cgroup"))
    removeEmpty(join("/sys/fs/cgroup", controller, "libpod_parent"));
}

function removeEmpty(folder: string): void {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory()) removeEmpty(join(folder, entry.name));
    rmdirSync(folder);
  } catch {
    // It is not there, or somebody uses it.
  }
}
