/** slowhttptest's header, body and read attacks at a sidecar process: a good caller is answered, memory stays, a metric tells. */
import { spawn, type ChildProcess } from "node:child_process";
import { Agent } from "node:http";
import t, { type Test } from "tap";
import { closeCalls, eventually } from "../support/peers/call.ts";
import { callEvenly, warmUp } from "../support/hostile/good-caller.ts";
import {
  startLoneSidecar,
  type LoneSidecar,
} from "../support/processes/lone-sidecar.ts";
import { findTool, needs } from "../support/processes/tools.ts";

const MIB = 1_048_576;
const CONNECTIONS = 500;
const TOOL = findTool("slowhttptest");
const skip = needs(TOOL === undefined ? ["slowhttptest"] : []);

/** More than all buffers of the kernel between here and there. */
const LARGE = Buffer.alloc(16 * MIB);
t.teardown(closeCalls);

async function startSlowed(t: Test): Promise<LoneSidecar> {
  const sidecar = await startLoneSidecar((request, response) => {
    request.resume();
    request.on("end", () =>
      response.end(request.url === "/large" ? LARGE : "ok"),
    );
  });
  t.teardown(() => sidecar.stop());
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  await warmUp(sidecar, agent);
  agent.destroy();
  await eventually(
    "no connection is open that would count as one under attack",
    10_000,
    connections(sidecar),
    (count) => count === 0,
  );
  return sidecar;
}

function attackWith(
  sidecar: LoneSidecar,
  kind: string,
  path: string,
  args: string,
): ChildProcess {
  const url = `http://127.0.0.1:${sidecar.published}${path}`;
  // As many connections as are wanted within two seconds; `-l` ends it where this test does not.
  const common = `-c ${CONNECTIONS} -r 250 -l 110 -p 3 -u ${url}`;
  return spawn(TOOL ?? "slowhttptest", `${kind} ${args} ${common}`.split(" "), {
    stdio: "ignore",
  });
}

/**
 * Lets the tool run for a tenth of a second in each half. It looks after its connections without a pause, which takes a core, and has to
 * do something for them once a second.
 */
function restrain(attack: ChildProcess): () => void {
  let beat = 0;
  const timer = setInterval(() => {
    beat += 1;
    if (beat % 5 < 2) attack.kill(beat % 5 === 0 ? "SIGCONT" : "SIGSTOP");
  }, 100);
  return () => clearInterval(timer);
}

interface Slowness {
  readonly name: string;
  readonly start: () => ChildProcess;
  /** How many connections are under attack, by what the sidecar says of itself. */
  readonly held: () => Promise<number>;
  /** How many it has cut off. */
  readonly cut: () => Promise<number>;
  /** Milliseconds until they are. */
  readonly patience: number;
  /** Octets that one connection may cost. */
  readonly cost: number;
}

const connections = (sidecar: LoneSidecar) => (): Promise<number> =>
  sidecar.metric("wherry_connections", 'kind="published"');
const refused = (sidecar: LoneSidecar, reason: string) => (): Promise<number> =>
  sidecar.metric("wherry_requests_total", `reason="${reason}"`);

const ofRequests = (sidecar: LoneSidecar): readonly Slowness[] => [
  {
    name: "slow headers (slowloris)",
    start: () => attackWith(sidecar, "-H", "/", "-i 2"),
    held: connections(sidecar),
    cut: () => sidecar.metric("wherry_limits_total", 'limit="header_time"'),
    patience: 10_000,
    cost: 32 * 1024,
  },
  {
    name: "slow bodies",
    start: () => attackWith(sidecar, "-B", "/", "-i 2"),
    held: () => sidecar.metric("wherry_active_requests", '"inbound"'),
    cut: refused(sidecar, "REQUEST_STALLED"),
    patience: 10_000,
    // A connection to the application besides.
    cost: 64 * 1024,
  },
];

const ofResponses = (sidecar: LoneSidecar): readonly Slowness[] => [
  {
    name: "slow reading",
    // A window of a KiB at most, and five octets a second taken from it.
    start: () =>
      attackWith(sidecar, "-X", "/large", "-k 1 -n 1 -z 5 -w 512 -y 1024"),
    // One may hold four times as many octets: a third of them would seem to be all.
    held: async () =>
      Math.min(
        await connections(sidecar)(),
        (await sidecar.metric("wherry_buffered_bytes")) / (64 * 1024),
      ),
    cut: refused(sidecar, "RESPONSE_STALLED"),
    patience: 60_000,
    // Up to 256 KiB that wait to be sent, and 64 KiB that have been read; and what the allocator keeps of the megabytes that the kernel took before.
    cost: 512 * 1024,
  },
];

async function attackedBy(
  t: Test,
  sidecar: LoneSidecar,
  { start, held, cut, patience, cost }: Slowness,
): Promise<void> {
  const idle = sidecar.resident();
  const before = await cut();
  const attack = start();
  t.teardown(() => attack.kill("SIGKILL"));
  await eventually(
    "the attack is at its height",
    40_000,
    held,
    (count) => count >= 0.9 * CONNECTIONS,
  );
  const began = performance.now();
  t.teardown(restrain(attack));
  const height = sidecar.resident();
  const during = await callEvenly(sidecar, 4);
  const lasting = sidecar.resident();
  await eventually(
    "all are cut off",
    patience + 30_000 - (performance.now() - began),
    async () => (await cut()) - before,
    (count) => count >= 0.9 * CONNECTIONS,
  );
  attack.kill("SIGKILL");
  t.same(during.failures, [], "all calls are answered");
  t.ok(during.answered > 0);
  // Some connections come, and some hold more, after the height.
  for (const resident of [height, lasting])
    t.ok(
      resident - idle < 16 * MIB + CONNECTIONS * cost,
      `${resident - idle} bytes for them all`,
    );
}

// Each waits for the limits of its own sidecar, those of responses for a minute.
t.jobs = 2;
for (const [what, attacksOn] of [
  ["requests", ofRequests],
  ["responses", ofResponses],
] as const)
  void t.test(
    what,
    { timeout: 280_000, buffered: true, ...skip },
    async (t) => {
      const sidecar = await startSlowed(t);
      for (const slowness of attacksOn(sidecar))
        await t.test(
          `${slowness.name} on ${CONNECTIONS} connections: the good caller is answered, memory stays, each is cut off and counted`,
          (t) => attackedBy(t, sidecar, slowness),
        );
    },
  );
