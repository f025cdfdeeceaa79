/** Flags of Node that belong to a sidecar's process, where they were measured to matter. */

/**
 * V8's helper threads wait for the core that the event loop holds when there are few cores; one thread for collection keeps
 * the tail of the latency short. Node refuses this flag in NODE_OPTIONS.
 */
export const SIDECAR_FLAGS: readonly string[] = ["--single-threaded-gc"];
