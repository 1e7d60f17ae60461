// Backups over the socket: what there is, and a run that a person asks for. Each ask is in the audit log before it is handed on.

import type { StoreStatus } from "../../shared/state/backup.ts";
import type { BackupListDocument } from "../../shared/document/backup-document.ts";
import type { Actor } from "../../shared/state/event.ts";
import type { AuditEntry, AuditLine } from "../report/audit/audit-chain.ts";
import type { AgentEvent } from "../../shared/state/event.ts";
import type { Clock } from "../host/os/clock.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";

/** Who knows the backups of this node and makes them. */
export interface BackupDesk {
  list(): Promise<StoreStatus[]>;
  /** Asks for a run or a proof now; answers why there is none, or undefined once it is queued. */
  ask(kind: "make" | "verify", service: string, store: string): string | undefined;
}

/** What these routes work with: a part of what all acts do. */
interface BackupParts {
  clock: Clock;
  view: { readonly node: string };
  /** Resolves when the line is on disk. */
  record(entry: AuditEntry): Promise<AuditLine>;
  emit(event: AgentEvent): void;
  /** Who answers for backups; undefined while the agent is still starting. */
  backups: () => BackupDesk | undefined;
}

const STARTING = "the agent is still starting: try again in a moment";

/** Answers `GET /v1/backups`. */
export async function answerBackupList(parts: BackupParts, call: Call): Promise<Answer> {
  const desk = parts.backups();
  if (desk === undefined) return answerError(call, 503, STARTING);
  const document: BackupListDocument = {
    version: 1,
    node: parts.view.node,
    nowMs: parts.clock.nowMs(),
    stores: await desk.list(),
  };
  return answerJson(200, document);
}

/** What can be asked for, and how it is told. */
const ACTS = {
  run: { kind: "make", action: "backup", says: "a backup is made now" },
  verify: {
    kind: "verify",
    action: "backup-verify",
    says: "the newest backup is restored into a throw-away server now",
  },
} as const;

/** Answers `POST /v1/backups/SERVICE/STORE/run` and `/verify`. */
export async function answerBackupAct(parts: BackupParts, call: Call, actor: Actor): Promise<Answer> {
  const [, , service, store, name] = call.path;
  const act = name === "run" || name === "verify" ? ACTS[name] : undefined;
  if (call.path.length !== 5 || act === undefined || service === undefined || store === undefined)
    return answerError(call, 404, "there is no such act");
  const desk = parts.backups();
  if (desk === undefined) return answerError(call, 503, STARTING);
  const known = (await desk.list()).find((entry) => entry.service === service && entry.store === store);
  if (known === undefined) return answerError(call, 404, `${service} has no backup ${store} that is in force here`);
  if (known.trouble !== undefined) return answerError(call, 409, known.trouble);
  if (name === "verify" && known.backups.length === 0)
    return answerError(call, 409, `${service}/${store} has no backup yet: orca backup run ${service}`);
  try {
    await parts.record({
      actor: { kind: "user", uid: actor.uid, ...(actor.user === undefined ? {} : { user: actor.user }) },
      action: act.action,
      what: { service, store },
      cause: "asked on the socket",
      result: "ok",
    });
  } catch (error) {
    return answerError(call, 503, `nothing was done: ${error instanceof Error ? error.message : String(error)}`);
  }
  const refusal = desk.ask(act.kind, service, store);
  if (refusal !== undefined) return answerError(call, 409, refusal);
  parts.emit({
    kind: "acted",
    atMs: parts.clock.nowMs(),
    actor,
    action: act.action,
    service,
    detail: JSON.stringify({ store }),
  });
  return answerJson(202, { accepted: true, message: `${service}/${store}: ${act.says}` });
}
