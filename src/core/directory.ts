/** Directories for their owner alone. */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { systemCode } from "./errors.ts";
import { isOfTheMachine } from "./machine/again.ts";

/**
 * Makes `path` where it is missing, parents included, with mode 0700. Throws Node's system error where it cannot.
 * Node's own `recursive` never comes back, and takes all memory, where a parent exists and takes no directory (/proc).
 */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await makeOne(path);
  } catch (thrown) {
    const parent = dirname(path);
    if (systemCode(thrown) !== "ENOENT" || parent === path) throw thrown;
    // Another process may have made the parent meanwhile: where it was there all along, the second try fails as the first did.
    if (!(await isDirectory(parent))) await makeDirectory(parent);
    await makeOne(path);
  }
}

/** Leaves a directory that is there as it is. */
async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (thrown) {
    if (systemCode(thrown) !== "EEXIST" || !(await isDirectory(path)))
      throw thrown;
  }
}

/** Rejects where the machine does not let it be looked at: it may be one. */
async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (thrown) {
    if (isOfTheMachine(thrown)) throw thrown;
    return false;
  }
}
