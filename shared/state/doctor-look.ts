// What the weekly look at the host has found, as report/ is told.

/** One finding. */
interface HostFinding {
  id: string;
  check: string;
  severity: "fail" | "warn" | "info";
  what: string;
  fix: string;
}

/** One look. */
export interface DoctorLook {
  /** How many findings are to be mended now, new and old. */
  weak: number;
  /** Those that the look before had not: whoever is alerted is told of these alone. */
  fresh: readonly HostFinding[];
  /** Why nothing was looked at. */
  trouble: string | undefined;
}
