/** `npm run bench -- faults`: what calls feel while the mesh has a fault. */
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock, timestamp } from "../../src/core/clock.ts";
import { showsColours } from "../../src/cli/table.ts";
import { messageOf } from "../../src/core/errors.ts";
import { writeFigureTables } from "../figure-tables.ts";
import { machine, versionOf } from "../versions.ts";
import type { Bed } from "./bed.ts";
import type { Surroundings } from "./layout.ts";
import { openBed } from "./open-bed.ts";
import { readFaultsOptions, USAGE, type FaultsOptions } from "./options.ts";
import { openProgress } from "./progress.ts";
import {
  faultsPage,
  faultsTable,
  readFaultsResult,
  type FaultsResult,
} from "./report.ts";
import { measureRow, type Row, type RowResult } from "./row.ts";
import { allRows, chooseRows } from "./rows.ts";

const RESULTS = fileURLToPath(new URL("../results", import.meta.url));

/** `build` makes this checkout's package and gives its folder; `temporary` is told of folders that are to be gone at the end. */
export async function faults(
  argv: readonly string[],
  build: () => string,
  temporary: string[],
): Promise<void> {
  const options = readFaultsOptions(argv);
  if (options === undefined) {
    process.stdout.write(USAGE);
    return;
  }
  const rows = chooseRows(allRows(options.short), options.names);
  if (options.list) {
    process.stdout.write(rows.map(({ name }) => `${name}\n`).join(""));
    return;
  }
  const { beside } = options;
  const before =
    beside === undefined ? undefined : await readFaultsResult(beside);
  const directory = await mkdtemp(join(tmpdir(), "wherry-faults-"));
  temporary.push(directory);
  // Sidecars look for their own folder in it.
  await chmod(directory, 0o711);
  const progress = openProgress(process.stderr, systemClock);
  try {
    const dist = options.dist === undefined ? build() : resolve(options.dist);
    const around: Surroundings = {
      ...{ directory, dist, short: options.short, rounds: options.rounds },
      clock: systemClock,
      progress: (text) => progress.show(text),
    };
    const result: FaultsResult = {
      scenario: "faults",
      date: timestamp(systemClock.wall()),
      version: versionOf(dist),
      machine: machine(),
      options: { rounds: options.rounds, short: options.short },
      rows: [],
    };
    const measured: RowResult[] = [];
    for (const row of rows) {
      measured.push(await measure(row, around));
      progress.end(
        faultsTable(measured.slice(-1), before, false).split("\n")[1],
      );
      // A run that is called off has given what it has measured so far.
      await keepJson({ ...result, rows: measured }, options);
    }
    await keep({ ...result, rows: measured }, before, options);
  } finally {
    progress.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function measure(row: Row, around: Surroundings): Promise<RowResult> {
  around.progress(`${row.name}: the mesh starts`);
  let bed: Bed | undefined;
  try {
    bed = await (row.open?.(around) ?? openBed(around));
    return await measureRow(row, bed, around);
  } catch (thrown) {
    // A row that fails is told of, and gives no figures; the others do.
    const failure = messageOf(thrown).split("\n").slice(0, 3).join(" ");
    return { name: row.name, rounds: around.rounds, goals: [], failure };
  } finally {
    await bed?.close();
  }
}

async function keep(
  result: FaultsResult,
  before: FaultsResult | undefined,
  options: FaultsOptions,
): Promise<void> {
  const colour = showsColours(process.stdout.isTTY, process.env);
  process.stdout.write(faultsTable(result.rows, before, colour));
  if (
    result.rows.some(
      ({ figures, goals }) =>
        figures === undefined || goals.some(({ met }) => !met),
    )
  )
    process.exitCode = 1;
  await keepJson(result, options);
  if (!options.save) return;
  await writeFile(join(RESULTS, "faults.json"), textOf(result));
  await writeFile(join(RESULTS, "faults.md"), faultsPage(result, before));
  await writeFigureTables();
}

async function keepJson(
  result: FaultsResult,
  { json }: FaultsOptions,
): Promise<void> {
  if (json !== undefined) await writeFile(json, textOf(result));
}

function textOf(result: FaultsResult): string {
  return `${JSON.stringify(result, undefined, 1)}\n`;
}
