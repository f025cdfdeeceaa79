/** Functions of the C library that Node does not offer, by the foreign-function library, which is loaded at first use. */
import { createRequire } from "node:module";
import type * as koffiModule from "koffi";

type NativeFunction = (...values: unknown[]) => unknown;

/**
 * The function of that prototype, as koffi reads it: "int malloc_trim(size_t pad)". Undefined where this C library has none, or
 * where the foreign-function library has no binary for this machine.
 */
export function libcFunction(prototype: string): NativeFunction | undefined {
  try {
    const koffi = createRequire(import.meta.url)("koffi") as typeof koffiModule;
    // The process itself: its C library, whichever that is.
    const native = koffi.load(null).func(prototype);
    return (...values) => native(...values) as unknown;
  } catch {
    return undefined;
  }
}
