/**
 * V8's collector and compiler, as far as a program may steer them. Their flags are set here, once the process runs, and are none of
 * the process's own: Node's modules and the bundle come compiled for the flags that V8 has, and with one of these more from the start
 * all of it would be compiled again (50 ms). Which flags count so, V8 decides: those of `runtime/node-flags.ts` do not. A V8 that
 * does not know a flag says so on stderr, and goes on.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let native: NodeJS.GCFunction | undefined;

/** One collection, at once or as the options say. Callers know what it takes. */
export function collectGarbage(options: NodeJS.GCOptions): void {
  native ??= globalThis.gc ?? nativeCollector();
  native(options);
}

/**
 * Begins a full collection that goes in steps of less than a millisecond, between the turns of the event loop; one at once stops
 * everything for as long as it takes to mark all that is alive, some 50 ms in a sidecar. V8 asks after each collection of the nursery
 * whether the old generation has grown enough to begin; here one percent of what it may grow by is enough. With less, there is nothing
 * to free.
 */
export function collectInSteps(): void {
  setFlagsFromString("--incremental-marking-hard-trigger=1");
  try {
    collectGarbage({ type: "minor" });
  } finally {
    // V8's own rule.
    setFlagsFromString("--incremental-marking-hard-trigger=0");
  }
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
 * Has what is called often compiled by the optimising compilers after fewer calls than V8 waits for of its own accord: the quicker of
 * the two after 150 in place of 400, and 200 in place of 500 since types were last seen to differ; the slower after 3,000, where V8
 * takes 16,500 to 20,500 for as long as it gets no number (decision 010). V8's numbers are those of pages; a proxy calls the same few functions for
 * each request, and at a thousand a second V8 was compiling for half a minute, beside the calls. After 1,000 the slower compiler would
 * have begun with what is called now and then, at a time when all that a request needs is compiled. For the whole process.
 */
export function compileSooner(): void {
  setFlagsFromString("--invocation-count-for-maglev=150");
  setFlagsFromString("--invocation-count-for-turbofan=3000");
  setFlagsFromString("--minimum-invocations-after-ic-update=200");
}

/** Lets the old generation grow by so many percent of what is alive in it before it is collected. For the whole process, from the next collection on. */
export function setHeapGrowth(percent: number): void {
  setFlagsFromString(`--heap-growing-percent=${percent}`);
}

/** Empties a set that is old, if there is anything in it: clear() makes a table of a hundred bytes each time, and that of an old set is garbage until all of the heap is collected. */
export function empty(set: Set<unknown>): void {
  if (set.size > 0) set.clear();
}
