// The one part of systeminformation that the agent loads; loading the whole package costs 2.5 MB more (measured).

declare module "systeminformation/lib/memory.js" {
  import type { Systeminformation } from "systeminformation";
  const memory: {
    /** Reads /proc/meminfo. */
    mem(): Promise<Systeminformation.MemData>;
  };
  export = memory;
}
