/** Flags of Node that belong to a sidecar's process, where they were measured to matter. */

/**
 * V8's helper threads wait for the core that the event loop holds when there are few cores; one thread for collection keeps
 * the tail of the latency short. Node refuses this flag in NODE_OPTIONS.
 */
export const SIDECAR_FLAGS: readonly string[] = ["--single-threaded-gc"];

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
