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
  /** Asks for a run now; answers why there is none, or undefined once it is queued. */
  ask(service: string, store: string): string | undefined;
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

/** Answers `POST /v1/backups/SERVICE/STORE/run`. */
export async function answerBackupAct(parts: BackupParts, call: Call, actor: Actor): Promise<Answer> {
  const [, , service, store, act] = call.path;
  if (call.path.length !== 5 || act !== "run" || service === undefined || store === undefined)
    return answerError(call, 404, "there is no such act");
  const desk = parts.backups();
  if (desk === undefined) return answerError(call, 503, STARTING);
  const known = (await desk.list()).find((entry) => entry.service === service && entry.store === store);
  if (known === undefined) return answerError(call, 404, `${service} has no backup ${store} that is in force here`);
  if (known.trouble !== undefined) return answerError(call, 409, known.trouble);
  try {
    await parts.record({
      actor: { kind: "user", uid: actor.uid, ...(actor.user === undefined ? {} : { user: actor.user }) },
      action: "backup",
      what: { service, store },
      cause: "asked on the socket",
      result: "ok",
    });
  } catch (error) {
    return answerError(call, 503, `nothing was done: ${error instanceof Error ? error.message : String(error)}`);
  }
  const refusal = desk.ask(service, store);
  if (refusal !== undefined) return answerError(call, 409, refusal);
  parts.emit({
    kind: "acted",
    atMs: parts.clock.nowMs(),
    actor,
    action: "backup",
    service,
    detail: JSON.stringify({ store }),
  });
  return answerJson(202, { accepted: true, message: `a backup of ${service}/${store} is made now` });
}
