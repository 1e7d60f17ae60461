// What `orca slo --json` prints and `GET /v1/slo` gives: the recovery point of every store of this node, for each of its repositories.
// Stable, with a version; a key without a value is null.

/** The document. */
export interface SloDocument {
  version: 1;
  node: string;
  at: string;
  /** True while no promise is broken. */
  held: boolean;
  rpo: readonly RpoDocument[];
}

/** One store in one repository. */
export interface RpoDocument {
  service: string;
  store: string;
  repository: string;
  promisedSeconds: number | null;
  /** Since the newest good backup began, or since the store is there where it has none. */
  ageSeconds: number;
  /** When the newest good backup began; null where there is none. */
  newest: string | null;
  state: "held" | "broken" | "not-promised";
  /** Why it is as it is, where that is known. */
  reason: string | null;
  /** What the last proof has shown; null where there was none. */
  verdict: "good" | "bad" | "unknown" | null;
}
