/** What the C library keeps of what was freed, seen by where its heap ends. */
import t from "tap";
import {
  keepFreed,
  libcFunction,
  whyNoForeignFunctions,
} from "../../src/runtime/libc.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

const mallopt = libcFunction("int mallopt(int parameter, int value)");

void t.test(
  "buffers of bulk are freed and taken again without the kernel",
  {
    skip:
      whyNoForeignFunctions() ??
      (mallopt === undefined && "this C library has no mallopt"),
  },
  (t) => {
    const malloc = libcFunction("size_t malloc(size_t bytes)");
    const free = libcFunction("void free(size_t address)");
    const sbrk = libcFunction("size_t sbrk(intptr_t more)");
    const trim = libcFunction("int malloc_trim(size_t pad)");
    const end = (): number => Number(sbrk?.(0));
    const take = (count: number, bytes: number): unknown[] =>
      Array.from({ length: count }, () => malloc?.(bytes));
    const giveBack = (addresses: readonly unknown[]): void => {
      for (const address of addresses) free?.(address);
    };

    // As small as glibc has them before a process has freed much: then they grow with the largest.
    for (const parameter of [-1, -2, -3]) mallopt?.(parameter, 128 * KIB);
    keepFreed();
    // First all figures: what tap says takes memory as well.
    const fill = take(64, 256 * KIB);
    const filled = end();
    const few = take(24, 256 * KIB);
    const taken = end();
    giveBack(few);
    const freed = end();
    const again = take(24, 256 * KIB);
    const used = end();
    const large = take(1, 32 * MIB);
    const besides = end();
    giveBack([...again, ...large, ...fill]);
    const kept = end();
    trim?.(0);
    const trimmed = end();

    const grown = (from: number, to: number): number => (to - from) / MIB;
    t.ok(grown(filled, taken) > 4, "buffers of bulk are of the heap");
    t.ok(grown(taken, freed) > -1, "6 MiB stay when they are free");
    t.ok(grown(taken, used) < 3, "and serve again");
    t.ok(grown(used, besides) < 16, "what is large comes from the kernel");
    t.ok(grown(used, kept) < -10, "of 22 MiB not all stay");
    t.ok(grown(used, trimmed) < -18, "and none when they are asked for");
    t.end();
  },
);
