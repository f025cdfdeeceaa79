/** All attacks at once at a sidecar process, and what a good caller has of it meanwhile and afterwards. */
import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { call, eventually } from "../peers/call.ts";
import { cleanEnvironment } from "../processes/demo.ts";
import { callEvenly, type Windows } from "./good-caller.ts";
import type { LoneSidecar } from "../processes/lone-sidecar.ts";

/** Each in as many connections, from an address of its own. */
export const ATTACKS: readonly string[] = [
  "zero-window",
  "rapid-reset",
  "made-you-reset",
  "wrong-length",
  "hpack-bomb",
  "continuation",
  "ping",
  "settings",
  "one-byte-frames",
  "one-byte-chunks",
  "slow-body",
  "idle",
];

export interface Siege {
  readonly quiet: Windows;
  readonly during: Windows;
  readonly after: Windows;
  /** The same calls straight to the application while the attack goes on; undefined where it was not asked for. */
  readonly straight: Windows | undefined;
  /** Octets of resident memory: before, at most, and when service was back. */
  readonly resident: {
    readonly before: number;
    readonly most: number;
    readonly after: number;
  };
  /** Connections of attackers that were ended meanwhile. */
  readonly ended: number;
  /** Milliseconds from the attackers' end until ten calls in a row were answered; where it is pinned, none later than twice the time of the slowest quiet one. */
  readonly recovery: number;
  /** Share of one core that the sidecar used. */
  readonly cpu: number;
}

export interface SiegeOptions {
  /** Of each attack. */
  readonly connections: number;
  /** Windows of good calls while it lasts. */
  readonly windows: number;
  readonly attacks?: readonly string[];
  /** On a quiet machine: the sidecar has the second core for itself, everybody else the first. */
  readonly pinned?: boolean;
  /**
   * Windows of calls that go straight to the application while the attack goes on. Attackers, caller and application share a core, and
   * what the attackers' system calls take of it delays these calls as much as those through the sidecar: that part is not its cost.
   */
  readonly straight?: number;
}

/**
 * Attackers have the lowest priority: what is measured is what they cost the sidecar, not what they cost the caller's core. On a pinned
 * machine they run when nobody else does there (SCHED_IDLE); on a busy one that could be never.
 */
export async function besiege(
  sidecar: LoneSidecar,
  options: SiegeOptions,
): Promise<Siege> {
  const { connections, windows, attacks = ATTACKS, pinned = false } = options;
  const application = { published: sidecar.appPort };
  if (pinned && pin(sidecar.pid, "1")) pin(process.pid, "0");
  const quiet = await callEvenly(sidecar, 4);
  const before = sidecar.resident();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, sidecar.resident());
  }, 50);
  const spent = sidecar.cpu();
  const began = performance.now();
  const priority = pinned ? ["chrt", "--idle", "0"] : ["nice", "-n", "19"];
  const attackers = attack(sidecar.published, attacks, connections, priority);
  try {
    await eventually(
      "the attack is under way",
      30_000,
      () => Promise.resolve(attackers.printed()),
      (printed) => printed !== "",
    );
    const during = await callEvenly(sidecar, windows);
    const cpu =
      (sidecar.cpu() - spent) / Math.max(1, performance.now() - began);
    const straight =
      options.straight === undefined
        ? undefined
        : await callEvenly(application, options.straight);
    const ended = Number(/(\d+) ended\n$/.exec(attackers.printed())?.[1] ?? 0);
    await attackers.kill();
    const recovery = await serviceIsBack(
      sidecar,
      pinned ? 2 * Math.max(50, ...quiet.p99) : Number.POSITIVE_INFINITY,
    );
    const after = await callEvenly(sidecar, 3);
    const resident = { before, most, after: sidecar.resident() };
    return { quiet, during, straight, after, resident, ended, recovery, cpu };
  } finally {
    clearInterval(watch);
    await attackers.kill();
  }
}

interface Attackers {
  printed(): string;
  kill(): Promise<void>;
}

function attack(
  port: number,
  attacks: readonly string[],
  connections: number,
  [program = "", ...priority]: readonly string[],
): Attackers {
  const list = attacks.map((name) =>
    name === "idle" ? `idle-${connections}` : `${name}*${connections}`,
  );
  const child = spawn(
    program,
    [
      ...[...priority, process.execPath],
      fileURLToPath(new URL("attacker.ts", import.meta.url)),
      ...[list.join(","), String(port)],
    ],
    { env: cleanEnvironment(), stdio: ["ignore", "pipe", "inherit"] },
  );
  let printed = "";
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const gone = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  return {
    printed: () => printed,
    kill() {
      child.kill("SIGKILL");
      return gone;
    },
  };
}

/** Milliseconds until service is full again: until ten calls in a row were answered in less than `slow` milliseconds. */
async function serviceIsBack(
  sidecar: LoneSidecar,
  slow: number,
): Promise<number> {
  const began = performance.now();
  let row = 0;
  await eventually(
    "service is back",
    60_000,
    async () => {
      const { status, ms } = await call(
        `http://127.0.0.1:${sidecar.published}/`,
        { headers: { host: "orders.shop" } },
      );
      row = status === 200 && ms < slow ? row + 1 : 0;
      return row;
    },
    (good) => good >= 10,
  );
  return performance.now() - began;
}

/** Ties a process, with all its threads, to a core. False where that cannot be. */
function pin(pid: number, core: string): boolean {
  return (
    spawnSync("taskset", ["-acp", core, String(pid)], { stdio: "ignore" })
      .status === 0
  );
}
