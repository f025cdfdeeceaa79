/** What of the process Node does not offer, functions of the C library above all, by the foreign-function library, which is loaded at first use. */
import { createRequire } from "node:module";
import type * as koffiModule from "koffi";

type NativeFunction = (...values: unknown[]) => unknown;

/**
 * The function of that prototype, as koffi reads it: "int malloc_trim(size_t pad)". Undefined where the process has none, or
 * where the foreign-function library has no binary for this machine.
 */
export function nativeFunction(prototype: string): NativeFunction | undefined {
  try {
    // The process itself: Node, and its C library, whichever that is.
    const native = foreign().load(null).func(prototype);
    return (...values) => native(...values) as unknown;
  } catch {
    return undefined;
  }
}

/** Throws where it has no binary for this machine. */
export function foreign(): typeof koffiModule {
  return createRequire(import.meta.url)("koffi") as typeof koffiModule;
}
