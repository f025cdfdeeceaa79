/** Floods in HTTP/2 and thousands of idle connections at a sidecar process: a good caller is answered, memory stays, a metric tells. */
import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { closeCalls, eventually } from "../support/peers/call.ts";
import { cleanEnvironment } from "../support/processes/demo.ts";
import { callEvenly, warmUp } from "../support/hostile/good-caller.ts";
import { startLoneSidecar } from "../support/processes/lone-sidecar.ts";
import { needs } from "../support/processes/tools.ts";

const MIB = 1_048_576;
/** Good calls for which the event loop needs as much CPU as for a flood that is cut off: some limits let a hundred frames pass. */
const MOST_CALLS = 60;

const sidecar = await startLoneSidecar((request, response) => {
  request.resume();
  request.on("end", () => response.end("ok"));
});
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});
await warmUp(sidecar);
const callCost = await costOfCall();

/** Milliseconds of the event loop's CPU for a good call in quiet. */
async function costOfCall(): Promise<number> {
  const before = sidecar.loopCpu();
  const { answered } = await callEvenly(sidecar, 4);
  return (sidecar.loopCpu() - before) / answered;
}

interface Attacker {
  readonly child: ChildProcess;
  /** How often it has printed `word`. */
  count(word: string): number;
}

function attackWith(attack: string): Attacker {
  const child = spawn(
    process.execPath,
    [
      fileURLToPath(new URL("../support/hostile/attacker.ts", import.meta.url)),
      attack,
      String(sidecar.published),
    ],
    { env: cleanEnvironment(), stdio: ["ignore", "pipe", "inherit"] },
  );
  let printed = "";
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  return { child, count: (word) => printed.split(word).length - 1 };
}

function kill(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}

/** By flood, the limit that stops it, as the metric calls it. */
const FLOODS: readonly (readonly [flood: string, limit: string])[] = [
  ["rapid-reset", "resets"],
  ["continuation", "field_block"],
  ["ping", "pings"],
  ["settings", "settings"],
];

for (const [flood, limit] of FLOODS)
  void t.test(
    `${flood} flood, again and again: the good caller is answered, memory stays, ${limit} is counted`,
    { timeout: 120_000 },
    async (t) => {
      // By its limit; and who comes back too often is turned away before it speaks.
      const counted = async (): Promise<number> =>
        (await sidecar.metric(
          "wherry_limits_total",
          'listener="published"',
          `limit="${limit}"`,
        )) +
        (await sidecar.metric(
          "wherry_refusals_total",
          'listener="published"',
          'reason="source turned away"',
        ));
      const before = await counted();
      // The first flood makes the codec's buffers, which stay.
      const attacker = attackWith(flood);
      t.teardown(() => attacker.child.kill("SIGKILL"));
      await eventually(
        "the flood has been stopped",
        10_000,
        () => Promise.resolve(attacker.count("ended")),
        (count) => count > 0,
      );
      const resident = sidecar.resident();
      const spent = sidecar.loopCpu();
      const earlier = attacker.count("ended");
      const during = await callEvenly(sidecar, 4);
      const growth = sidecar.resident() - resident;
      const floods = attacker.count("ended");
      const extra = sidecar.loopCpu() - spent - during.answered * callCost;
      // The one that is under way has not ended.
      const cost = extra / (floods - earlier + 1) / callCost;
      await kill(attacker.child);
      const stopped = (await counted()) - before;
      t.same(during.failures, [], "all calls are answered");
      t.ok(during.answered > 0);
      t.ok(growth < 32 * MIB, `resident memory has grown by ${growth} octets`);
      t.ok(floods > 5, `${floods} floods were stopped`);
      t.ok(
        cost < MOST_CALLS,
        `a flood costs the event loop as much as ${cost.toFixed(1)} calls`,
      );
      t.ok(stopped >= floods, "each is counted");
    },
  );

const IDLE = 5000;
/** Each connection may need two descriptors, and one listener has three quarters of them. */
const DESCRIPTORS = 16_384;

function descriptors(): number {
  const limits = readFileSync("/proc/self/limits", "latin1");
  return Number(/^Max open files\s+\d+\s+(\d+)/m.exec(limits)?.[1] ?? 0);
}

void t.test(
  `${IDLE} idle connections: the good caller is answered, each costs a few KiB and is counted`,
  {
    timeout: 180_000,
    ...needs(
      descriptors() < DESCRIPTORS
        ? [
            `${DESCRIPTORS} open files a process ("ulimit -Hn" says ${descriptors()})`,
          ]
        : [],
    ),
  },
  async (t) => {
    const resident = sidecar.resident();
    const attacker = attackWith(`idle-${IDLE}`);
    t.teardown(() => attacker.child.kill("SIGKILL"));
    await eventually(
      "all are there",
      30_000,
      () => Promise.resolve(attacker.count("holding")),
      (count) => count === 1,
    );
    const during = await callEvenly(sidecar, 4);
    const growth = sidecar.resident() - resident;
    t.ok(
      (await sidecar.metric("wherry_connections", 'kind="published"')) >= IDLE,
      "they are in the gauge",
    );
    t.equal(
      await sidecar.metric("wherry_active_requests", 'direction="inbound"'),
      0,
      "the application hears of none of them",
    );
    await kill(attacker.child);
    await eventually(
      "they are gone",
      10_000,
      () => sidecar.metric("wherry_connections", 'kind="published"'),
      (count) => count < 200,
    );
    t.same(during.failures, [], "all calls are answered");
    t.ok(during.answered > 0);
    t.ok(
      growth < 80 * MIB,
      `resident memory has grown by ${growth} octets, 16 KiB a connection at most`,
    );
  },
);
