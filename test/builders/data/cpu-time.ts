// What this thread has computed: for tests that say that something is not out of all proportion. Unlike a clock it does not run on while
// the machine does other things.

/** CPU time of this thread since it began, in milliseconds. */
export function readCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}
