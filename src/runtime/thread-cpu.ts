/** CPU time of this thread, which other processes on the core do not lengthen. */

/** Milliseconds so far, user and system. `process.threadCpuUsage` came with Node 23.9; Wherry starts on 24 and later alone. */
export function threadCpu(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
