/** `npm run bench`: measures what a hop costs beside the peers that it finds installed, and keeps the figures. */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock, timestamp } from "../src/core/clock.ts";
import { UserError } from "../src/core/errors.ts";
import { runMain } from "./arguments.ts";
import { openApplication } from "./application.ts";
import { makeCertificates } from "./certificates.ts";
import { startCollector } from "./collector.ts";
import { contest, coresOf, type Entry, type Surroundings } from "./contest.ts";
import { writeFigureTables } from "./figure-tables.ts";
import { costs } from "./costs/main.ts";
import { faults } from "./faults/main.ts";
import { readOptions, USAGE, type Options } from "./options.ts";
import {
  ensureAddable,
  keep,
  page,
  resultOf,
  summarise,
  type Result,
} from "./results.ts";
import type { Scenario } from "./scenario.ts";
import { choose, listing } from "./scenarios.ts";
import { endAll } from "./processes.ts";
import { scale } from "./scale/main.ts";
import { program } from "./tools.ts";
import { machine } from "./versions.ts";

/** Folders that are to be gone at the end, however it comes. */
const temporary: string[] = [];
const ROOT = fileURLToPath(new URL("..", import.meta.url));

async function main(): Promise<void> {
  const [first, ...rest] = process.argv.slice(2);
  // They measure no pairs of proxies and have options of their own.
  if (first === "scale") return scale(rest, build, temporary);
  if (first === "faults") return faults(rest, build, temporary);
  if (first === "costs") return costs(rest);
  const wish = readOptions(process.argv.slice(2));
  switch (wish.kind) {
    case "help":
      process.stdout.write(USAGE);
      return;
    case "list":
      process.stdout.write(listing());
      return;
    case "summary":
      process.stdout.write(await summarise());
      await writeFigureTables();
      return;
    case "run":
      await run(choose(wish.options.names), wish.options);
  }
}

async function run(
  scenarios: readonly Scenario[],
  options: Options,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-bench-"));
  temporary.push(directory);
  const clock = systemClock;
  const dist = options.dist === undefined ? build() : resolve(options.dist);
  const { load } = coresOf({}, options);
  // The collector and the openers of connections are this process: they are load.
  if (load !== undefined)
    spawnSync(program("taskset"), ["-apc", load, String(process.pid)]);
  const collector = await startCollector(clock);
  const application = await openApplication(directory, load, clock);
  const around: Surroundings = {
    directory,
    dist,
    certificates: await makeCertificates(directory, clock),
    collector,
    application,
    options,
    clock,
    say: (text) => void process.stderr.write(`${text}\n`),
  };
  try {
    const results: Result[] = [];
    const ownMachine = machine();
    const date = timestamp(clock.wall());
    for (const scenario of scenarios) {
      const resultWith = (entries: readonly Entry[]): Result =>
        resultOf(scenario, entries, date, ownMachine, options);
      if (options.add) await ensureAddable(resultWith([]));
      const entries = await contest(scenario, around);
      if (entries.length === 0) continue;
      const result = resultWith(entries);
      if (options.save) await keep(result, options.add);
      results.push(result);
    }
    process.stdout.write(
      options.json
        ? `${JSON.stringify(results, undefined, 1)}\n`
        : page(results),
    );
    if (options.save) {
      await summarise();
      await writeFigureTables();
    }
    if (results.some(hasFailed)) process.exitCode = 1;
  } finally {
    await application.stop();
    collector.close();
    await rm(directory, { recursive: true, force: true });
  }
}

function hasFailed({ entries }: Result): boolean {
  return entries.some(({ failure }) => failure !== undefined);
}

/** `npm run build`: what is measured is never older than the source. */
function build(): string {
  const result = spawnSync(process.execPath, [
    join(ROOT, "src", "tools", "build.js"),
  ]);
  if (result.status !== 0)
    throw new UserError(`npm run build fails: ${result.stderr.toString()}`);
  return join(ROOT, "dist");
}

for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, () => {
    endAll();
    for (const directory of temporary)
      rmSync(directory, { recursive: true, force: true });
    process.kill(process.pid, signal);
  });
await runMain(main);
