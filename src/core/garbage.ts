/**
 * V8's collector, as far as a program may steer it. Its flags are set here, once the process runs, and are none of the process's own:
 * Node's modules and the bundle come compiled for the flags that V8 has, and with one of these more from the start, all of it would be
 * compiled again (50 ms of a start). Which flags count so, V8 decides: those of `cli/node-flags.ts` do not.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let native: NodeJS.GCFunction | undefined;

/** One collection, at once or as the options say. Those who count on it know what it takes. */
export function collectGarbage(options: NodeJS.GCOptions): void {
  native ??= globalThis.gc ?? nativeCollector();
  native(options);
}

/** V8 gives new contexts its own function while this flag is set. */
function nativeCollector(): NodeJS.GCFunction {
  setFlagsFromString("--expose-gc");
  try {
    return runInNewContext("gc") as NodeJS.GCFunction;
  } finally {
    setFlagsFromString("--no-expose-gc");
  }
}

/** Lets the old generation grow by so many percent of what is alive in it before it is collected. For the whole process, from the next collection on. */
export function setHeapGrowth(percent: number): void {
  setFlagsFromString(`--heap-growing-percent=${percent}`);
}
