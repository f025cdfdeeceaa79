/** How files stand on disk, without their content: whether any came, went, was written or replaced between two looks. */
import { stat } from "node:fs/promises";
import type { BigIntStats } from "node:fs";
import { wait, type Clock } from "../../core/clock.ts";
import { inSlices, pauses, type Steps } from "../../core/slices.ts";

export interface FileStats {
  /** Another one after each write, each replacement and each change of its inode. */
  readonly signature: string;
  readonly bytes: number;
  /** Wall-clock milliseconds of the last write. */
  readonly writtenAt: number;
}

/** By file, in the order of the list. Undefined: it is listed and cannot be found. */
export type Look = ReadonlyMap<string, FileStats | undefined>;

export type List = () => Promise<readonly string[]>;

/** Milliseconds that files have been left alone before they are read: a program that saves truncates first and writes then. */
export const SETTLE: number = 250;
/** Files that are asked after at a time: more of them come back in one turn of the event loop, and hold it. */
const TOGETHER = 64;
/** Share of the time that is given to looking where there are many files: one in so many. */
const SPARING = 50;

/**
 * Empty where the files cannot be listed. `before`: an earlier look, which is the result where all is as it was then: looks come all the
 * time, and what each leaves behind is to be little.
 */
export async function lookAt(list: List, before?: Look): Promise<Look> {
  const files = await list().catch((): readonly string[] => []);
  const stats: (FileStats | undefined)[] = [];
  let same = before?.size === files.length;
  for (let at = 0; at < files.length; at += TOGETHER) {
    const some = files.slice(at, at + TOGETHER);
    const found = await Promise.all(
      some.map((file) =>
        stat(file, { bigint: true }).then(statsOf, () => undefined),
      ),
    );
    for (const [index, file] of some.entries()) {
      const now = found[index];
      const known = before?.get(file);
      const unchanged = known?.signature === now?.signature;
      if (!unchanged || before?.has(file) !== true) same = false;
      stats.push(unchanged ? known : now);
    }
  }
  if (same && before !== undefined) return before;
  const look = new Map<string, FileStats | undefined>();
  for (const [index, file] of files.entries()) look.set(file, stats[index]);
  return look;
}

export function statsOf({
  dev,
  ino,
  mtimeNs,
  ctimeNs,
  size,
}: BigIntStats): FileStats {
  return {
    // The last change of the inode as well: programs that copy set the time of the last write back.
    signature: `${dev}:${ino} ${mtimeNs} ${ctimeNs} ${size}`,
    bytes: Number(size),
    writtenAt: Number(mtimeNs / 1_000_000n),
  };
}

export function isSameLook(
  one: Look,
  other: Look,
  clock: Clock,
): Promise<boolean> {
  return inSlices(compared(one, other), pauses(clock));
}

function* compared(one: Look, other: Look): Steps<boolean> {
  if (one === other) return true;
  if (one.size !== other.size) return false;
  for (const [file, stats] of one) {
    yield;
    if (!other.has(file) || stats?.signature !== other.get(file)?.signature)
      return false;
  }
  return true;
}

/** Wall-clock milliseconds of the last write to any of them; -Infinity where there is none. */
export function newestOf(look: Look): number {
  let newest = -Infinity;
  for (const stats of look.values())
    newest = Math.max(newest, stats?.writtenAt ?? -Infinity);
  return newest;
}

/** Milliseconds until the next of several looks, after one that took `took`. */
export function untilNext(took: number, least: number): number {
  return Math.max(least, took * SPARING);
}

/** Waits `ms`; false as soon as the files stand otherwise. Rejects when the signal aborts (law 4). */
export async function staySame(
  list: List,
  look: Look,
  ms: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  const end = clock.now() + ms;
  for (let left = ms; left > 0; left = end - clock.now()) {
    const before = clock.now();
    if (!(await isSameLook(await lookAt(list, look), look, clock)))
      return false;
    const took = clock.now() - before;
    await wait(clock, Math.min(left, untilNext(took, SETTLE)), signal);
  }
  return isSameLook(await lookAt(list, look), look, clock);
}
