/** Functions of the C library that Node does not offer, by the foreign-function library, which is loaded at first use. */
import { createRequire } from "node:module";
import type * as koffiModule from "koffi";
import { messageOf } from "../core/errors.ts";
import type { Bytes } from "../core/units.ts";

type NativeFunction = (...values: unknown[]) => unknown;

/** The foreign-function library. Throws where it has no binary for this machine. */
export function foreignFunctions(): typeof koffiModule {
  return createRequire(import.meta.url)("koffi") as typeof koffiModule;
}

/** Why the foreign-function library cannot be used in this process. Undefined where it can. */
export function whyNoForeignFunctions(): string | undefined {
  try {
    foreignFunctions();
    return undefined;
  } catch (thrown) {
    return messageOf(thrown);
  }
}

/**
 * The function of that prototype, as koffi reads it: "int malloc_trim(size_t pad)". Undefined where this C library has none, or
 * where the foreign-function library has no binary for this machine.
 */
export function libcFunction(prototype: string): NativeFunction | undefined {
  try {
    // The process itself: its C library, whichever that is.
    const native = foreignFunctions().load(null).func(prototype);
    return (...values) => native(...values) as unknown;
  } catch {
    return undefined;
  }
}

/** Fields of glibc's `struct mallinfo2`, each a size_t. */
const MALLINFO =
  "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split(
    " ",
  );

/**
 * How many bytes the C library's allocator has given out and not got back, of all threads; some hundredths of a millisecond. Undefined
 * where it does not tell (glibc does from 2.33 on).
 */
export function allocatedBytes(): (() => number) | undefined {
  try {
    const koffi = foreignFunctions();
    const fields = koffi.struct(
      Object.fromEntries(MALLINFO.map((name) => [name, "size_t"])),
    );
    const native = koffi.load(null).func("mallinfo2", fields, []);
    return () => {
      const { uordblks, hblkhd } = native() as Record<string, number>;
      return Number(uordblks) + Number(hblkhd);
    };
  } catch {
    return undefined;
  }
}

/** Bytes at the end of glibc's heap. As many must have been freed for a trim to be worth it (`memory-trim.ts`). */
const KEPT: Bytes = 8 * 1024 * 1024;
/** Larger ones come from the kernel and go back to it by themselves. Bulk comes in buffers of 256 KiB, and TLS doubles its own. */
const BY_ITSELF: Bytes = 1024 * 1024;
/** What the heap grows by. */
const STEP: Bytes = 1024 * 1024;

/** mallopt(3): M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_TOP_PAD. */
const SETTINGS: readonly (readonly [number, Bytes])[] = [
  [-1, KEPT],
  [-3, BY_ITSELF],
  [-2, STEP],
];

/**
 * Bodies come and go in buffers of 256 KiB. Left to itself glibc gives the end of its heap back as soon as two of them are free there, and takes it again
 * a moment later: the kernel then clears each page once more, some hundred of them for each MiB that passes.
 * Other C libraries have no such setting.
 */
export function keepFreed(): void {
  const mallopt = libcFunction("int mallopt(int parameter, int value)");
  for (const [parameter, bytes] of SETTINGS) mallopt?.(parameter, bytes);
}
