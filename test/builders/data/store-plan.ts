// Plans of stores as tests need them: a whole one, of which a test says what it is about.

import type { StorePlan, StoreSourcePlan } from "../../../shared/state/backup.ts";

/** A source that reads all of a stock PostgreSQL. */
const SOURCE_PLAN: StoreSourcePlan = {
  user: "postgres",
  password: undefined,
  databases: undefined,
  command: undefined,
  exec: false,
  bucket: undefined,
  stop: false,
  volumes: [],
  image: undefined,
  hooks: { before: [], after: [] },
  memoryBytes: 256 * 2 ** 20,
  minBytes: undefined,
};

/** A PostgreSQL whose backups nobody proves, with no promise. */
export function buildStorePlan(own: Partial<StorePlan> = {}): StorePlan {
  return {
    service: "pg",
    store: "db",
    engine: "postgres",
    schedule: "every 5h",
    source: SOURCE_PLAN,
    repositories: [{ kind: "local", name: "local", path: undefined }],
    minSuccess: 1,
    recipients: [],
    backupKey: undefined,
    keepMs: undefined,
    retention: { days: 14, daily: 14, weekly: 4, monthly: 0 },
    verify: undefined,
    rpoMs: undefined,
    ...own,
  };
}
