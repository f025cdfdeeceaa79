/** Follows the config that another process of this sidecar keeps on the disk: one that was replaced and drains hears by it what is forbidden meanwhile. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Cancel, Clock } from "../core/clock.ts";
import {
  CONFIG_FILE,
  readConfig,
  type Kept,
  type Owner,
} from "./kept-config.ts";
import type { StateDirectory } from "./state-directory.ts";

/** Milliseconds between two looks: with the second between two writes there, what is forbidden ends within 5 s. */
const LOOK = 1000;

export interface DiskFollowerOptions {
  readonly directory: StateDirectory;
  readonly owner: Owner;
  /** Version of this software. */
  readonly version: string;
  readonly clock: Clock;
  /** Puts it in force; resolves with the reason where that cannot be done. */
  readonly take: (config: Kept) => Promise<string | undefined>;
}

/** What is there already is known. Resolves with the way to stop. */
export async function followDisk(
  options: DiskFollowerOptions,
): Promise<Cancel> {
  const file = join(options.directory.path, CONFIG_FILE);
  let known = await stateOf(file);
  let looking = false;
  const look = async (): Promise<void> => {
    const now = await stateOf(file);
    if (now === undefined || now === known) return;
    const { directory, owner, version, clock, take } = options;
    const read = await readConfig(directory, owner, version, clock);
    // What is not whole is being written: the next look finds it.
    if (read === undefined || "reason" in read) return;
    known = now;
    await take(read);
  };
  return options.clock.every(LOOK, () => {
    if (looking) return;
    looking = true;
    look()
      // What cannot be read is read at the next look.
      .catch(() => undefined)
      .finally(() => (looking = false));
  });
}

/** Another text where it has changed; undefined where it cannot be looked at. */
async function stateOf(file: string): Promise<string | undefined> {
  try {
    const { ino, size, mtimeMs } = await stat(file);
    return `${ino} ${size} ${mtimeMs}`;
  } catch {
    return undefined;
  }
}
