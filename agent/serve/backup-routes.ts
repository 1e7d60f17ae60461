// Backups over the socket: what there is, and a run that a person asks for. Each ask is in the audit log before it is handed on.

import type { CopyOutOrder, LeftStore, PinOrder, StoreStatus } from "../../shared/state/backup.ts";
import type { BackupListDocument } from "../../shared/document/backup-document.ts";
import type { Actor } from "../../shared/state/event.ts";
import type { AuditEntry, AuditLine } from "../report/audit/audit-chain.ts";
import type { AgentEvent } from "../../shared/state/event.ts";
import type { Clock } from "../host/os/clock.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Who knows the backups of this node and makes them. */
export interface BackupDesk {
  /** This node's recipient; undefined until it has one. */
  readonly backupKey: string | undefined;
  /** Who stands in this node's place: it makes no backup then. */
  readonly replacedBy?: string | undefined;
  list(): Promise<StoreStatus[]>;
  /** What lies in the repository `local` and belongs to no store in force. */
  listLeft(): Promise<LeftStore[]>;
  /** Asks for a run or a proof now; answers why there is none, or undefined once it is queued. */
  ask(
    kind: "make" | "verify",
    store: { service: string; store: string; backup?: string | undefined },
  ): string | undefined;
  /** Asks for a restore of a bucket into an empty place; answers why there is none, or undefined once it is queued. */
  copyOut(order: CopyOutOrder): string | undefined;
  /** Pins a backup, or takes the pin away; a text says why it cannot be. */
  pin(order: PinOrder): Promise<string | undefined>;
}

/** What these routes work with: a part of what all acts do. */
export interface BackupParts {
  clock: Clock;
  view: { readonly node: string };
  /** Resolves when the line is on disk. */
  record(entry: AuditEntry): Promise<AuditLine>;
  emit(event: AgentEvent): void;
  /** Who answers for backups; undefined while the agent is still starting. */
  backups: () => BackupDesk | undefined;
}

/** Said while the agent has no answer yet. */
export const STARTING = "the agent is still starting: try again in a moment";

/** Answers `GET /v1/backups`. */
export async function answerBackupList(parts: BackupParts, call: Call): Promise<Answer> {
  const desk = parts.backups();
  if (desk === undefined) return answerError(call, 503, STARTING);
  const left = await desk.listLeft();
  const document: BackupListDocument = {
    version: 1,
    node: parts.view.node,
    nowMs: parts.clock.nowMs(),
    backupKey: desk.backupKey,
    stores: await desk.list(),
    ...(left.length > 0 && { left }),
    ...(desk.replacedBy === undefined ? {} : { replacedBy: desk.replacedBy }),
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
export async function answerBackupAct(
  parts: BackupParts,
  call: Call,
  { body, actor }: { body: object; actor: Actor },
): Promise<Answer> {
  const [, , service, store, name] = call.path;
  if (call.path.length !== 5 || (name !== "run" && name !== "verify") || service === undefined || store === undefined)
    return answerError(call, 404, "there is no such act");
  const act = ACTS[name];
  const desk = parts.backups();
  if (desk === undefined) return answerError(call, 503, STARTING);
  if (desk.replacedBy !== undefined)
    return answerError(call, 409, `no backup of ${service} is made or proved here: ${desk.replacedBy}: ask there`);
  const known = (await desk.list()).find((entry) => entry.service === service && entry.store === store);
  if (known === undefined) return answerError(call, 404, `${service} has no backup ${store} that is in force here`);
  if (known.trouble !== undefined) return answerError(call, 409, known.trouble);
  const asked = parseAct(name, known, body);
  if (typeof asked === "string") return answerError(call, 409, asked);
  const { backup } = asked;
  const what = { service, store, ...(backup === undefined ? {} : { backup }) };
  try {
    await parts.record({
      actor: { kind: "user", uid: actor.uid, ...(actor.user === undefined ? {} : { user: actor.user }) },
      action: act.action,
      what,
      cause: "asked on the socket",
      result: "ok",
    });
  } catch (error) {
    return answerError(call, 503, `nothing was done: ${readMessage(error)}`);
  }
  const refusal = desk.ask(act.kind, what);
  if (refusal !== undefined) return answerError(call, 409, refusal);
  parts.emit({
    kind: "acted",
    atMs: parts.clock.nowMs(),
    actor,
    action: act.action,
    service,
    detail: JSON.stringify({ store }),
  });
  const says = backup === undefined ? act.says : act.says.replace("the newest backup", backup);
  return answerJson(202, { accepted: true, message: `${service}/${store}: ${says}` });
}

/** Which backup is meant; a text says why none can be. */
function parseAct(
  name: keyof typeof ACTS,
  { service, store, backups, log }: StoreStatus,
  body: object,
): { backup: string | undefined } | string {
  const { backup, ...rest } = body as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) return `${name} knows no ${JSON.stringify(unknown)}`;
  const all = [...backups, ...(log?.bases ?? [])];
  if (name === "verify" && all.length === 0) return `${service}/${store} has no backup yet: orca backup run ${service}`;
  if (backup === undefined) return { backup };
  if (name !== "verify" || typeof backup !== "string") return "backup is the name of one that is proved";
  return all.some((entry) => entry.name === backup)
    ? { backup }
    : `${service}/${store} has no backup ${backup}: orca backup list ${service} names them`;
}
