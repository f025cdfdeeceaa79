/** Functions of the C library that Node does not offer, by the foreign-function library, which is loaded at first use. */
import { createRequire } from "node:module";
import type * as koffiModule from "koffi";
import { messageOf } from "../core/errors.ts";

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
