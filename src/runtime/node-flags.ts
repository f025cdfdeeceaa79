/** Flags of Node that belong to the process of a command, where they were measured to matter. Those that a start would pay for are in `runtime/v8.ts`. */

/**
 * SIGUSR1, which logrotate sends, would open Node's debugger on 127.0.0.1, where every user of the machine may read keys out of the
 * process. A listener would prevent that only once the modules are loaded. Node refuses the signal to listeners as well: `user-signals.ts`.
 */
const NO_DEBUGGER = "--disable-sigusr1";

export const SIDECAR_FLAGS: readonly string[] = [
  NO_DEBUGGER,
  // V8's helper threads wait for the core that the event loop holds when there are few cores; one thread for collection keeps
  // the tail of the latency short. Node refuses this flag in NODE_OPTIONS.
  "--single-threaded-gc",
  // Threads for V8's compiler, where its own number is four: they share the core with the event loop while much is compiled, and
  // four of them make a call wait for longer (p99 at 4,000/s in the first ten seconds 17 → 7 ms, CPU the same).
  "--v8-pool-size=1",
  // MiB: half of V8's own limit. What a request allocates dies with it, so a smaller nursery is emptied more often and at no
  // greater cost; it took 11 MiB off the process under load, and the CPU a request stayed where it was (4: 5 MiB less still, 10 % more CPU).
  "--max-semi-space-size=8",
];

/**
 * MiB: half of V8's own limit. A wave of work, such as a change that a thousand sidecars get, makes the nursery grow to three times the
 * limit, and all of it stays resident until things are calm: 40 MiB less, and no more CPU.
 */
const CONTROL_PLANE_FLAGS: readonly string[] = [
  NO_DEBUGGER,
  "--max-semi-space-size=8",
];

/** The flags of what serves. Not of `wherry wait`: what it becomes would inherit a blocked signal. */
const FLAGS: ReadonlyMap<string | undefined, readonly string[]> = new Map([
  ["sidecar", SIDECAR_FLAGS],
  ["control-plane", CONTROL_PLANE_FLAGS],
  ["dev", [NO_DEBUGGER]],
  ["demo-application", [NO_DEBUGGER]],
]);

export function flagsOf(command: string | undefined): readonly string[] {
  return FLAGS.get(command) ?? [];
}

/**
 * Threads of libuv. Half of them may look names up at a time: two of its own four. A look-up whose name servers are silent holds its thread for
 * up to 20 s, and names that would resolve wait for one.
 */
const LIBUV_THREADS = "16";

/** Those that this process, and what it starts with its own flags, does not have yet. */
export function missingFlags(flags: readonly string[]): readonly string[] {
  return flags.filter((flag) => !process.execArgv.includes(flag));
}

/**
 * Node takes flags at its start only: a process that was started without them begins again with them, as the same process.
 * Does not return where it does.
 */
export function beginWithFlags(flags: readonly string[]): void {
  if (flags.length > 0) process.env["UV_THREADPOOL_SIZE"] ??= LIBUV_THREADS;
  const missing = missingFlags(flags);
  if (missing.length === 0 || process.execve === undefined) return;
  process.execve(process.execPath, [
    process.execPath,
    ...process.execArgv,
    ...missing,
    ...process.argv.slice(1),
  ]);
}
