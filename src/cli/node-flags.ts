/** Flags of Node that belong to a sidecar's process, where they were measured to matter. */

export const SIDECAR_FLAGS: readonly string[] = [
  // V8's helper threads wait for the core that the event loop holds when there are few cores; one thread for collection keeps
  // the tail of the latency short. Node refuses this flag in NODE_OPTIONS.
  "--single-threaded-gc",
  // Threads for V8's compiler, where its own number is four: they share the core with the event loop while much is compiled, and
  // four of them make a call wait for longer (p99 at 4,000/s in the first ten seconds 17 → 7 ms, CPU the same).
  "--v8-pool-size=1",
  // MiB: half of V8's own limit. What a request allocates dies with it, so a smaller nursery is emptied more often and at no
  // greater cost; it took 11 MiB off the process under load, and the CPU a request stayed where it was (4: 5 MiB less still, 10 % more CPU).
  "--max-semi-space-size=8",
  // The old generation may grow to twice what is alive before it is collected: some 12 MiB, of which bodies under way may hold 8
  // (`wire/collecting.ts`). V8's own rule follows the collection that leaves the start behind (`proxy/memory-trim.ts`) with a tenth,
  // and collects ten times a second.
  "--heap-growing-percent=100",
  // So that what bodies leave behind is collected before V8 stops for a full collection (`wire/collecting.ts`), and all garbage
  // before calls are refused for want of memory (`proxy/memory-pressure.ts`).
  "--expose-gc",
];

/**
 * Node takes flags at its start only: a process that was started without them begins again with them, as the same process.
 * Does not return where it does.
 */
export function beginWithFlags(flags: readonly string[]): void {
  const missing = flags.filter((flag) => !process.execArgv.includes(flag));
  if (missing.length === 0 || process.execve === undefined) return;
  process.execve(process.execPath, [
    process.execPath,
    ...process.execArgv,
    ...missing,
    ...process.argv.slice(1),
  ]);
}
