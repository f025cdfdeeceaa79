/** Many streams at one control plane: a change that all of them get, all that come back after its restart, churn, and its memory. */
import { join } from "node:path";
import { Pool } from "undici";
import { UserError } from "../../../src/core/errors.ts";
import { pinnedTo } from "../../peer.ts";
import { start, type Running } from "../../processes.ts";
import type { Bed } from "../bed.ts";
import { figuresOf, spreadOf, type Figure } from "../figures.ts";
import type { Settled } from "../fleet/main.ts";
import { PORTS, READY_WITHIN } from "../layout.ts";
import { routeOf, workloadOf } from "../mesh.ts";
import { heldUpSince } from "../probe.ts";
import { watchCpu } from "../schedstat.ts";
import { allOf, churnFor } from "./churn.ts";

const CHANGES = 10;
const CHURN_SECONDS = 15;
/** Milliseconds in which the whole fleet has to have what it waits for. */
const WITHIN = 120_000;
/** Milliseconds behind each change. */
const SETTLE = 300;
/** Milliseconds without a change: each connection is looked at every 10 s. */
const QUIET = 10_000;
/** Resources that all streams together may hold: each has its own copy, as a sidecar has. */
const MOST_HELD = 600_000;
/** MiB for V8 in the process of the fleet. */
const HEAP = 8192;

export async function measureFleet(bed: Bed): Promise<Figure[]> {
  const { clock, say } = bed.around;
  const alone = bed.controlPlane.running.rss();
  const { fleet: wanted, fleetScope } = bed.options;
  const fitting = Math.floor(MOST_HELD / bed.resources);
  const count =
    fleetScope === "used" ? wanted : Math.max(1, Math.min(wanted, fitting));
  say(`  fleet: ${count} streams connect`);
  const spent = watchCpu(bed.controlPlane.running.pid);
  const fleet = await FleetProcess.start(bed, count);
  try {
    const { resources } = await fleet.taken(0);
    const connected = spent.ms();
    const quiet = await whenQuiet(bed);
    const changes = await change(bed, fleet);
    const endpoint = await changeEndpoint(bed, fleet);
    const rss = bed.controlPlane.running.rss();
    say("  fleet: churn");
    const churn = await underChurn(bed);
    say("  fleet: the control plane restarts");
    await fleet.settled(await latest(bed));
    const back = await restart(bed, fleet);
    return figuresOf("fleet", [
      ["streams", "", count],
      ["resources that each holds", "", resources],
      ["CPU of the control plane for all to connect", "ms", connected],
      ["CPU of the control plane, quiet", "% of a core", quiet],
      ["change acknowledged by all, median of ten", "ms", changes.all.p50],
      ["change acknowledged by all, worst of ten", "ms", changes.all.worst],
      ["change acknowledged by half, median of ten", "ms", changes.half.p50],
      ["CPU of the control plane for it", "ms a change", changes.cpu],
      [
        "bytes of the control plane for it",
        "B a stream",
        changes.bytes / count,
      ],
      ["longest pause of the control plane for it", "ms", changes.pause],
      [
        "endpoint ready or not: bytes of the control plane",
        "B a stream",
        endpoint.bytes / count,
      ],
      [
        "endpoint ready or not: CPU of the control plane",
        "ms a change",
        endpoint.cpu,
      ],
      ["changes that the API took in churn", "a second", churn.rate],
      ["CPU of the control plane in churn", "% of a core", churn.share],
      ["restart: until all have a push again", "ms", back.all],
      ["restart: CPU of the control plane", "ms", back.cpu],
      ["restart: bytes of the control plane", "B a stream", back.bytes / count],
      ["RSS of the control plane", "MiB", rss],
      ["RSS of the control plane without streams", "MiB", alone],
      ["RSS of the control plane after all came back", "MiB", back.rss],
    ]);
  } finally {
    await fleet.stop();
    say(
      `  fleet: ended after ${((clock.now() - fleet.since) / 1000).toFixed(0)} s`,
    );
  }
}

/** All streams are held, and so are the leases that they stand for. */
async function whenQuiet(bed: Bed): Promise<number> {
  const { clock } = bed.around;
  await bed.pause(SETTLE);
  const cpu = watchCpu(bed.controlPlane.running.pid);
  const from = clock.now();
  await bed.pause(QUIET);
  return (100 * cpu.ms()) / (clock.now() - from);
}

interface Changes {
  readonly all: ReturnType<typeof spreadOf>;
  readonly half: ReturnType<typeof spreadOf>;
  readonly cpu: number;
  readonly bytes: number;
  readonly pause: number;
}

/** The route of a Service that all of them see, one change after the other. */
async function change(bed: Bed, fleet: FleetProcess): Promise<Changes> {
  const { clock } = bed.around;
  const { running, probe } = bed.controlPlane;
  const service = bed.shape.used[0] ?? 0;
  const cpu = watchCpu(running.pid);
  const bytes = await sent(bed);
  const all: number[] = [];
  const half: number[] = [];
  await heldUpSince(probe);
  for (let index = 1; index <= CHANGES; index += 1) {
    const generation = `fleet-${index}`;
    const revision = await bed.api.put(routeOf(service, { generation }));
    const from = clock.now();
    const { median, last } = await fleet.settled(revision);
    all.push(last - from);
    half.push(median - from);
    await bed.pause(SETTLE);
  }
  return {
    all: spreadOf(all),
    half: spreadOf(half),
    cpu: cpu.ms() / CHANGES,
    bytes: ((await sent(bed)) - bytes) / CHANGES,
    pause: (await heldUpSince(probe)).pause,
  };
}

/** A Workload of the same Service is ready, and is not, in turn. */
async function changeEndpoint(
  bed: Bed,
  fleet: FleetProcess,
): Promise<Pick<Changes, "cpu" | "bytes">> {
  const service = bed.shape.used[0] ?? 0;
  const cpu = watchCpu(bed.controlPlane.running.pid);
  const bytes = await sent(bed);
  for (let index = 1; index <= CHANGES; index += 1) {
    const ready = index % 2 === 0;
    await fleet.settled(
      await bed.api.put(workloadOf(bed.shape, service, 0, { ready })),
    );
    await bed.pause(SETTLE);
  }
  return {
    cpu: cpu.ms() / CHANGES,
    bytes: ((await sent(bed)) - bytes) / CHANGES,
  };
}

async function underChurn(
  bed: Bed,
): Promise<{ readonly rate: number; readonly share: number }> {
  const { clock } = bed.around;
  const cpu = watchCpu(bed.controlPlane.running.pid);
  const from = clock.now();
  const { shape, api, around } = bed;
  const services = allOf(shape);
  const written = await churnFor(CHURN_SECONDS, shape, services, api, around);
  const took = clock.now() - from;
  return { rate: (1000 * written) / took, share: (100 * cpu.ms()) / took };
}

/** From the moment at which its API is ready again. */
async function restart(
  bed: Bed,
  fleet: FleetProcess,
): Promise<{
  readonly all: number;
  readonly cpu: number;
  readonly bytes: number;
  readonly rss: number;
}> {
  const { clock } = bed.around;
  await bed.controlPlane.stop();
  const ended = clock.now();
  await bed.resumeControlPlane();
  const from = clock.now();
  const { running } = bed.controlPlane;
  const cpu = watchCpu(running.pid);
  const { last } = await fleet.taken(ended);
  return {
    all: last - from,
    cpu: cpu.ms(),
    bytes: await sent(bed),
    rss: running.rss(),
  };
}

async function latest(bed: Bed): Promise<number> {
  const service = bed.shape.used[0] ?? 0;
  return bed.api.put(routeOf(service, { generation: "fleet-last" }));
}

async function sent(bed: Bed): Promise<number> {
  const { statistics } = await bed.api.status();
  return statistics["bytes"] ?? Number.NaN;
}

class FleetProcess {
  readonly #running: Running;
  readonly #pool: Pool;
  /** Monotonic milliseconds. */
  readonly since: number;

  private constructor(running: Running, since: number) {
    this.#running = running;
    this.since = since;
    this.#pool = new Pool(`http://127.0.0.1:${PORTS.fleet}`, {
      headersTimeout: WITHIN,
    });
  }

  /** On the core of the proxies, for no sidecar is measured at the same time. */
  static async start(bed: Bed, count: number): Promise<FleetProcess> {
    const { cores, clock } = bed.around;
    const running = await start(
      {
        name: "the fleet",
        command: process.execPath,
        args: [
          "--disable-warning=ExperimentalWarning",
          `--max-old-space-size=${HEAP}`,
          join(import.meta.dirname, "..", "fleet", "main.ts"),
          ...["--state", bed.controlPlane.stateDirectory],
          ...["--count", String(count)],
          ...(bed.options.fleetScope === "used"
            ? ["--services", String(bed.shape.services)]
            : []),
        ],
        port: PORTS.fleet,
        ...pinnedTo(cores.proxies),
      },
      clock,
      READY_WITHIN,
    );
    return new FleetProcess(running, clock.now());
  }

  /** Resolves when all have that revision, or a later one. */
  settled(revision: number): Promise<Settled> {
    return this.#ask(`/settled?revision=${revision}`);
  }

  /** Resolves when all have taken a push since. */
  taken(after: number): Promise<Settled> {
    return this.#ask(`/taken?after=${after}`);
  }

  async stop(): Promise<void> {
    await this.#pool.destroy();
    await this.#running.stop();
  }

  async #ask(path: string): Promise<Settled> {
    try {
      const { body } = await this.#pool.request({ method: "GET", path });
      return (await body.json()) as Settled;
    } catch (thrown) {
      const { body } = await this.#pool.request({ method: "GET", path: "/" });
      throw new UserError(
        `the fleet did not get there within ${WITHIN / 1000} s: ${await body.text()}`,
        { cause: thrown },
      );
    }
  }
}
