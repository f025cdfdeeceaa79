/** The process becomes another program, as `exec` does in a shell: the same process, and nobody between it and its parent. */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";

/** The file that a name stands for, as a shell would find it; undefined where there is none that may be run. */
export async function findProgram(
  name: string,
  path: string | undefined,
): Promise<string | undefined> {
  const places = name.includes("/")
    ? [resolve(name)]
    : (path ?? "").split(delimiter).map((folder) => join(folder || ".", name));
  for (const place of places) if (await mayRun(place)) return resolve(place);
  return undefined;
}

async function mayRun(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

/** Does not return. Throws where the system has no such call (Windows), or refuses it. */
export function becomeProgram(file: string, argv: readonly string[]): never {
  if (process.execve === undefined)
    throw new TypeError("this system cannot replace a process");
  // A program inherits what is ignored, and Node ignores these. What is caught begins anew by its default.
  for (const signal of ["SIGPIPE", "SIGXFSZ"] as const)
    process.on(signal, () => undefined);
  process.execve(file, [...argv], process.env);
  throw new TypeError(`${file} was not started`);
}
