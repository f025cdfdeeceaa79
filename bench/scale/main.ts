/** `npm run bench -- scale`: what a change costs in meshes of many Services. */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock, timestamp } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { coresOf } from "../contest.ts";
import { program } from "../tools.ts";
import { machine, versionOf } from "../versions.ts";
import { openBed, type Bed } from "./bed.ts";
import type { Figure, Line } from "./figures.ts";
import type { Surroundings } from "./layout.ts";
import { measureChanges } from "./lines/changes.ts";
import { measureChurn } from "./lines/churn.ts";
import { measureCrowd } from "./lines/crowd.ts";
import { measureEnvoy } from "./lines/envoy.ts";
import { measureFiles } from "./lines/files.ts";
import { measureFleet } from "./lines/fleet.ts";
import { measureFirstCalls } from "./lines/first-call.ts";
import { lifeFigures, liveThrough, type Life } from "./lines/life.ts";
import { readScaleOptions, USAGE, type ScaleOptions } from "./options.ts";
import {
  readResult,
  scalePage,
  type MeshResult,
  type ScaleResult,
} from "./report.ts";

/** The mesh beside which memory and start are shown. */
const FEW = 5;
const RESULTS = fileURLToPath(new URL("../results", import.meta.url));

/** `build` makes this checkout's package and gives its folder; `temporary` is told of folders that are to be gone at the end. */
export async function scale(
  argv: readonly string[],
  build: () => string,
  temporary: string[],
): Promise<void> {
  const options = readScaleOptions(argv);
  if (options === undefined) {
    process.stdout.write(USAGE);
    return;
  }
  const beside =
    options.beside === undefined ? undefined : await readResult(options.beside);
  const directory = await mkdtemp(join(tmpdir(), "wherry-scale-"));
  temporary.push(directory);
  try {
    const cores = coresOf({}, options);
    const ownMachine = machine();
    const dist = options.dist === undefined ? build() : resolve(options.dist);
    // The caller is this process: it is load.
    if (cores.load !== undefined)
      spawnSync(program("taskset"), ["-apc", cores.load, String(process.pid)]);
    const around: Surroundings = {
      directory,
      dist,
      cores,
      nodeArguments:
        options.cpuProf === undefined
          ? []
          : ["--cpu-prof", `--cpu-prof-dir=${resolve(options.cpuProf)}`],
      clock: systemClock,
      say: (text) => void process.stderr.write(`${text}\n`),
      temporary,
    };
    const date = timestamp(systemClock.wall());
    const resultOf = (meshes: readonly MeshResult[]): ScaleResult => ({
      scenario: "scale",
      date,
      version: versionOf(dist),
      machine: ownMachine,
      options: shownOptions(options),
      meshes,
    });
    // A run that is called off has given what it has measured so far.
    const meshes = await measureAll(options, around, (soFar) =>
      keepJson(resultOf(soFar), options),
    );
    const result = resultOf(meshes);
    await keep(result, beside, options);
    if (result.meshes.some(({ failures }) => Object.keys(failures).length > 0))
      process.exitCode = 1;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function keep(
  result: ScaleResult,
  beside: ScaleResult | undefined,
  options: ScaleOptions,
): Promise<void> {
  process.stdout.write(scalePage(result, beside));
  await keepJson(result, options);
  if (!options.save) return;
  await writeFile(join(RESULTS, "scale.json"), textOf(result));
  await writeFile(join(RESULTS, "scale.md"), scalePage(result, undefined));
}

async function keepJson(
  result: ScaleResult,
  { json }: ScaleOptions,
): Promise<void> {
  if (json !== undefined) await writeFile(json, textOf(result));
}

function textOf(result: ScaleResult): string {
  return `${JSON.stringify(result, undefined, 1)}\n`;
}

function shownOptions({
  changes,
  churnSeconds,
  fleet,
  crowd,
  listSeconds,
  fleetScope,
  sidecarOptions,
  fill,
  pinned,
}: ScaleOptions): Readonly<Record<string, unknown>> {
  return {
    changes,
    churnSeconds,
    fleet,
    crowd,
    listSeconds,
    fleetScope,
    sidecarOptions,
    fill,
    pinned,
  };
}

async function measureAll(
  options: ScaleOptions,
  around: Surroundings,
  onLine: (soFar: readonly MeshResult[]) => Promise<void>,
): Promise<MeshResult[]> {
  const five = options.sizes.some((services) =>
    options.linesAt(services).includes("life"),
  )
    ? await inBed(FEW, around, options, liveThrough)
    : undefined;
  const meshes: MeshResult[] = [];
  for (const services of options.sizes)
    meshes.push(
      await inBed(services, around, options, (bed) =>
        measureMesh(bed, options, five, (mesh) => onLine([...meshes, mesh])),
      ),
    );
  return meshes;
}

async function inBed<T>(
  services: number,
  around: Surroundings,
  options: ScaleOptions,
  use: (bed: Bed) => Promise<T>,
): Promise<T> {
  around.say(`a mesh of ${services.toLocaleString("en")} Services`);
  const bed = await openBed(services, around, options);
  try {
    return await use(bed);
  } finally {
    await bed.close();
  }
}

async function measureMesh(
  bed: Bed,
  { linesAt }: ScaleOptions,
  five: Life | undefined,
  onLine: (soFar: MeshResult) => Promise<void>,
): Promise<MeshResult> {
  const { say, clock } = bed.around;
  const figures: Figure[] = [];
  const failures: Partial<Record<Line, string>> = {};
  const { shape, resources } = bed;
  const result = { services: shape.services, resources, figures, failures };
  for (const line of linesAt(shape.services)) {
    const from = clock.now();
    try {
      figures.push(...(await measureLine(line, bed, five)));
    } catch (thrown) {
      // A line that fails is told of, and gives no figures; the others do.
      if (!(thrown instanceof UserError)) throw thrown;
      failures[line] = thrown.message;
      say(`  ${line} has no figures: ${thrown.message}`);
    }
    say(`  ${line}: ${((clock.now() - from) / 1000).toFixed(0)} s`);
    await onLine(result);
  }
  return result;
}

async function measureLine(
  line: Line,
  bed: Bed,
  five: Life | undefined,
): Promise<Figure[]> {
  switch (line) {
    case "changes":
      return measureChanges(bed);
    case "churn":
      return measureChurn(bed);
    case "first-call":
      return measureFirstCalls(bed);
    case "life":
      return five === undefined
        ? []
        : lifeFigures(await liveThrough(bed), five);
    case "fleet":
      return measureFleet(bed);
    case "crowd":
      return measureCrowd(bed);
    case "files":
      return measureFiles(bed);
    case "envoy":
      return measureEnvoy(bed);
  }
}
