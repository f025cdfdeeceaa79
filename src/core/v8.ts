/**
 * V8's collector and compiler, as far as a program may steer them. Their flags are set here, once the process runs, and are none of
 * the process's own: Node's modules and the bundle come compiled for the flags that V8 has, and with one of these more from the start
 * all of it would be compiled again (50 ms). Which flags count so, V8 decides: those of `cli/node-flags.ts` do not. A V8 that
 * does not know a flag says so on stderr, and goes on.
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

/**
 * Has what is called often compiled by the optimising compilers after a third of the calls that V8 waits for of its own accord (400
 * and 3,000, and 500 since types were last seen to differ). Its numbers are those of pages; a proxy calls the same few functions for
 * each request, and at a thousand a second V8 was compiling for half a minute, beside the calls. For the whole process.
 */
export function compileSooner(): void {
  setFlagsFromString("--invocation-count-for-maglev=150");
  setFlagsFromString("--invocation-count-for-turbofan=1000");
  setFlagsFromString("--minimum-invocations-after-ic-update=200");
}

/** Lets the old generation grow by so many percent of what is alive in it before it is collected. For the whole process, from the next collection on. */
export function setHeapGrowth(percent: number): void {
  setFlagsFromString(`--heap-growing-percent=${percent}`);
}
