/** How files stand on disk, without their content: whether any came, went, was written or replaced between two looks. */
import { createHash } from "node:crypto";
import { opendir, stat } from "node:fs/promises";
import { join } from "node:path";

export interface Look {
  /** Another one after each write, each replacement and each change of an inode. */
  readonly signature: string;
  readonly bytes: number;
  /** Wall-clock milliseconds of the last write to any of them; -Infinity where there is none. */
  readonly writtenAt: number;
}

export type List = () => Promise<readonly string[]>;

const EXTENSION = /\.(ya?ml|json)$/;
/** Files that are asked after at a time: more of them come back in one turn of the event loop, and hold it. */
const TOGETHER = 64;

/** The resource files that the path stands for, in the order of their names. Rejects where it cannot be read. */
export async function listResources(path: string): Promise<readonly string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const files: string[] = [];
  for await (const { name } of await opendir(path, { bufferSize: TOGETHER }))
    if (EXTENSION.test(name) && !name.startsWith("."))
      files.push(join(path, name));
  return files.sort();
}

/** Files that cannot be listed are none. */
export async function lookAt(list: List): Promise<Look> {
  const files = await list().catch((): readonly string[] => []);
  const signature = createHash("sha256");
  let bytes = 0;
  let writtenAt = -Infinity;
  for (let at = 0; at < files.length; at += TOGETHER) {
    const some = files.slice(at, at + TOGETHER);
    const found = await Promise.all(
      some.map((file) => stat(file, { bigint: true }).catch(() => undefined)),
    );
    for (const [index, file] of some.entries()) {
      const stats = found[index];
      signature.update(`${file}\0`);
      if (stats === undefined) continue;
      const { dev, ino, mtimeNs, ctimeNs, size } = stats;
      // The last change of the inode as well: programs that copy set the time of the last write back.
      signature.update(`${dev}:${ino} ${mtimeNs} ${ctimeNs} ${size}`);
      bytes += Number(size);
      writtenAt = Math.max(writtenAt, Number(mtimeNs / 1_000_000n));
    }
  }
  return { signature: signature.digest("base64"), bytes, writtenAt };
}
