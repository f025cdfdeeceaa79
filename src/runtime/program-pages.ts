/** Gives back the pages of the program's own file: of 50 MiB that Node maps to start, serving needs half. */
import { readFileSync } from "node:fs";
import { libcFunction } from "./libc.ts";

/** MADV_DONTNEED of madvise(2): the pages are the file's, and come from the page cache again where they are used. */
const DONT_NEED = 4;

interface Range {
  readonly from: bigint;
  readonly to: bigint;
}

/** Nothing on systems other than Linux. */
export function dropProgramPages(): void {
  const ranges = programRanges();
  if (ranges.length === 0) return;
  const madvise = libcFunction(
    "int madvise(uint64_t address, size_t length, int advice)",
  );
  for (const { from, to } of ranges)
    madvise?.(from, Number(to - from), DONT_NEED);
}

function programRanges(): Range[] {
  try {
    return readRanges(
      readFileSync("/proc/self/smaps", "latin1"),
      process.execPath,
    );
  } catch {
    return [];
  }
}

/**
 * Parts of `program` in a text as /proc/PID/smaps has it (proc(5)) that can be dropped: mapped read-only, and without a page that
 * differs from the file, for such a page would be lost.
 */
export function readRanges(smaps: string, program: string): Range[] {
  const ranges: Range[] = [];
  let current: Range | undefined;
  for (const line of smaps.split("\n")) {
    const mapping =
      /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+\s+(\S.*)$/.exec(line);
    if (mapping !== null) {
      const [, from = "", to = "", access = "", path = ""] = mapping;
      current =
        path === program && !access.includes("w")
          ? { from: BigInt(`0x${from}`), to: BigInt(`0x${to}`) }
          : undefined;
    } else if (/^[0-9a-f]+-/.test(line)) current = undefined;
    else if (current !== undefined && /^Anonymous:\s+0 kB$/.test(line))
      ranges.push(current);
  }
  return ranges;
}
