// Keys that do nothing where they stand: somebody wrote them for an effect that does not come. The manifest alone does not know
// what was written and what is a default: the text is read again, only for services where such a key would be idle.

import type { Manifest } from "../../../shared/manifest/manifest.ts";
import { readToml } from "../../../shared/text/read-toml.ts";
import type { FileFinding, RepositoryView } from "./view/repository-view.ts";

interface Idle {
  path: readonly string[];
  when: (manifest: Manifest) => boolean;
  why: string;
  hint: string;
}

const JOB = "take it out: a job runs at its times";

const IDLE: readonly Idle[] = [
  {
    path: ["restart", "policy"],
    when: ({ schedule }) => schedule !== undefined,
    why: "a job is never restarted by this: a cron runs again at its next time, @once after its backoff until it ends with 0",
    hint: JOB,
  },
  {
    path: ["restart", "backoff"],
    when: ({ schedule }) => schedule !== undefined && schedule !== "@once",
    why: "a cron that fails runs again at its next time, without a backoff",
    hint: JOB,
  },
  ...["settle", "healthy_within", "rollback", "drain"].map((key) => ({
    path: ["update", key],
    when: ({ schedule }: Manifest) => schedule !== undefined,
    why: "a job has no rollout: its next run has the new release",
    hint: JOB,
  })),
  {
    path: ["update", "drain"],
    when: ({ update, schedule }) => schedule === undefined && update.order !== "start-first",
    why: 'only order = "start-first" has connections to drain',
    hint: 'take it out, or write order = "start-first"',
  },
  {
    path: ["restart", "backoff"],
    when: ({ restart, schedule }) => schedule === undefined && restart.policy === "never",
    why: 'with policy = "never" there is no restart to wait for',
    hint: "take it out, or the policy",
  },
  {
    path: ["wants_timeout"],
    when: ({ wants, requires }) => wants.length === 0 && requires.length === 0,
    why: "it wants and requires nothing to wait for",
    hint: 'take it out, or write wants = ["name"]',
  },
  {
    path: ["secrets", "on_rotate"],
    when: ({ secrets }) =>
      secrets !== undefined &&
      [secrets.env, secrets.files, secrets.templates ?? {}].every((table) => Object.keys(table).length === 0),
    why: "it takes no secret whose value could change",
    hint: "take it out, or name a secret under [secrets.files]",
  },
  {
    path: ["log", "options"],
    when: ({ log }) => log?.driver === "none",
    why: 'driver = "none" keeps no output',
    hint: "take it out, or the driver",
  },
  {
    path: ["shm_size"],
    when: ({ ipc }) => ipc === "host" || ipc === "none",
    why: "it has no /dev/shm of its own with this ipc",
    hint: "take it out, or ipc",
  },
];

/** Warns of every written key that has no effect beside what else is written. */
export function checkIdleKeys(view: RepositoryView): FileFinding[] {
  return view.manifests.flatMap(({ manifest, text, file, node }) => {
    const idle = manifest === undefined ? [] : IDLE.filter(({ when }) => when(manifest));
    if (idle.length === 0) return [];
    const read = readToml(text);
    const raw = read.ok ? read.raw : {};
    return idle
      .filter(({ path }) => isWritten(raw, path))
      .map(({ path, why, hint }) => ({
        severity: "warning" as const,
        code: "idle-key",
        path,
        message: `it does nothing here: ${why}`,
        hint,
        file,
        nodes: [node],
      }));
  });
}

function isWritten(raw: unknown, path: readonly string[]): boolean {
  let value = raw;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return false;
    value = (value as Record<string, unknown>)[key];
  }
  return true;
}
