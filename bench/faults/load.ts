/** The calls of one row: a caller's process on its host, whose records are read while it writes them. */
import { readFile, writeFile } from "node:fs/promises";
import { wait } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import type { Host } from "../../test/support/meshes/hosts.ts";
import { between, figuresOf, parseRecords, type CallRecord } from "./calls.ts";
import {
  NAMESPACE,
  RATE,
  SERVICE,
  type Mix,
  type Surroundings,
} from "./layout.ts";

/** Milliseconds in which the processes come to run as they will go on. */
const WARM_UP = 4000;
/** Milliseconds in which every call has to succeed before a row begins, and how long that may take to come. */
const CLEAN = 2000;
const CLEAN_WITHIN = 120_000;

export interface LoadOptions {
  readonly host: Host;
  /** Where the records go. */
  readonly file: string;
  readonly mix: Mix;
  /** Who has to answer before a row begins. */
  readonly answering: readonly string[];
  /** Milliseconds that none of the calls may take before a row begins; absent: as long as they like. */
  readonly slowest?: number;
  readonly around: Surroundings;
}

export interface Load {
  /** Of the calls since all was well. */
  records(): Promise<CallRecord[]>;
  /** Begins no more calls, waits for those that have begun, and gives the same. */
  stop(): Promise<CallRecord[]>;
}

export async function startLoad(options: LoadOptions): Promise<Load> {
  const { host, file, mix, around } = options;
  let from = 0;
  await writeFile(file, "");
  const daemon = host.start([
    ...[process.execPath, "--disable-warning=ExperimentalWarning"],
    `${import.meta.dirname}/caller.ts`,
    ...[file, `${SERVICE}.${NAMESPACE}`, String(RATE), mix],
  ]);
  await daemon.prints("calls begin");
  const records = async (): Promise<CallRecord[]> =>
    between(parseRecords(await readFile(file, "utf8")), from, Infinity);
  const load: Load = {
    records,
    async stop() {
      process.kill(daemon.pid, "SIGTERM");
      await daemon.prints("all calls are over");
      return records();
    },
  };
  try {
    await untilClean(load, options);
    from = around.clock.now();
    return load;
  } catch (thrown) {
    await daemon.stop();
    throw thrown;
  }
}

async function untilClean(load: Load, options: LoadOptions): Promise<void> {
  const { answering, slowest = Infinity, around } = options;
  const { clock } = around;
  await wait(clock, WARM_UP - CLEAN, new AbortController().signal);
  const late = clock.now() + CLEAN_WITHIN;
  for (;;) {
    await wait(clock, CLEAN / 4, new AbortController().signal);
    const now = clock.now();
    const recent = between(await load.records(), now - CLEAN, now);
    const { calls, failed, reasons, longest } = figuresOf(recent);
    const by = new Set(recent.map((record) => record.by));
    if (
      failed === 0 &&
      longest <= slowest &&
      calls >= (RATE * CLEAN * 0.7) / 1000 &&
      answering.every((name) => by.has(name))
    )
      return;
    if (now > late)
      throw new UserError(
        `calls fail or are slow before there is a fault: ${failed} of ${calls} failed, the longest took ${longest} ms, answered by ${[...by].join(", ")}: ${JSON.stringify(reasons)}`,
      );
  }
}
