/** For tests: a directory that this process may only read, also where it runs as root, whom no mode stops. */
import { chmod, chown, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Somebody who owns nothing of the system's. */
const NOBODY = 65_534;

/** Runs `work` while `directory` and its files belong to this process and may only be read by it; as nobody where it is root. */
export async function whileReadOnly<T>(
  directory: string,
  work: () => Promise<T>,
  mode = 0o500,
): Promise<T> {
  const root = process.geteuid?.() === 0;
  const owner = root ? NOBODY : (process.geteuid?.() ?? 0);
  const files = (await readdir(directory)).map((name) => join(directory, name));
  for (const file of files) {
    await chown(file, owner, owner);
    await chmod(file, 0o400);
  }
  await chown(directory, owner, owner);
  await chmod(directory, mode);
  if (root) {
    // Made for its maker alone.
    await chmod(dirname(directory), 0o711);
    process.seteuid?.(NOBODY);
  }
  try {
    return await work();
  } finally {
    if (root) process.seteuid?.(0);
    await chmod(directory, 0o700);
    for (const file of files) await chmod(file, 0o600).catch(() => undefined);
  }
}
