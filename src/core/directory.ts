/** Directories for their owner alone, and files in them that are replaced whole. */
import { randomBytes } from "node:crypto";
import {
  chmod,
  mkdir,
  open,
  rename,
  rm,
  stat,
  type FileHandle,
} from "node:fs/promises";
import { dirname } from "node:path";
import { messageOf, systemCode } from "./errors.ts";
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

/** What is in the directory is replaced by its owner alone from now on. Resolves with what to say where every user can, and that cannot be changed. */
export async function keepFromWriters(
  path: string,
): Promise<string | undefined> {
  const { mode } = await stat(path);
  if ((mode & 0o022) === 0) return undefined;
  try {
    await narrow(path, mode, mode & 0o7755);
  } catch (thrown) {
    // A volume that is mounted for a group (fsGroup) belongs to another.
    if ((mode & 0o002) !== 0)
      return `every user of this machine can replace what is in ${path}: ${messageOf(thrown)}; run: chmod go-w ${path}`;
  }
  return undefined;
}

/** Gives a directory of the mode `from` another. Rejects for one that all users share, such as /tmp: it is not only this process's. */
export async function narrow(
  path: string,
  from: number,
  to: number,
): Promise<void> {
  if ((from & 0o1000) !== 0) throw new Error("all users share it");
  await chmod(path, to);
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

/** Beside a file, whose place is taken by a rename. */
export function temporaryName(file: string): string {
  return `${file}.${randomBytes(4).toString("hex")}.tmp`;
}

/** Replaces the file by what `write` writes, with mode 0600: a reader meanwhile, and one after whatever happens, finds the old one or the new one. */
export async function replaceFile<T>(
  file: string,
  write: (handle: FileHandle) => Promise<T>,
): Promise<T> {
  const temporary = temporaryName(file);
  let result: T;
  try {
    {
      await using handle = await open(temporary, "wx", 0o600);
      result = await write(handle);
      await handle.sync();
    }
    await rename(temporary, file);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
  // The rename itself must be on the disk, too.
  await using directory = await open(dirname(file), "r");
  await directory.sync();
  return result;
}
