// Restores into place over the socket: what goes on, what one would do, and one that a person asks for. Each ask is in the audit log
// before it is handed on.

import type { RestoreListDocument, RestorePlanDocument } from "../../shared/document/restore-document.ts";
import type { Actor } from "../../shared/state/event.ts";
import type { RestoreOrder, RestorePlan, RestoreStatus, VolumeChoice } from "../../shared/state/restore.ts";
import { type BackupParts, STARTING } from "./backup-routes.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Who restores into place on this node. */
export interface RestoreDesk {
  list(): RestoreStatus[];
  /** What it would do; a text says why nothing. */
  plan(order: RestoreOrder): Promise<RestorePlan | string>;
  begin(order: RestoreOrder, actor: Actor): Promise<RestorePlan | string>;
  /** Says which volume a service has its data in; answers why that cannot be. */
  use(choice: VolumeChoice, actor: Actor): Promise<string | undefined>;
}

/** What these routes work with. */
export interface RestoreParts extends Omit<BackupParts, "backups"> {
  /** Who answers for restores; undefined while the agent is still starting. */
  restores: () => RestoreDesk | undefined;
}

/** Answers `GET /v1/restores`. */
export function answerRestoreList(parts: RestoreParts, call: Call): Answer {
  const desk = parts.restores();
  if (desk === undefined) return answerError(call, 503, STARTING);
  const { clock, view } = parts;
  const document: RestoreListDocument = {
    version: 1,
    node: view.node,
    nowMs: clock.nowMs(),
    restores: desk.list(),
  };
  return answerJson(200, document);
}

/** Answers `POST /v1/restores/SERVICE/STORE`, and `/v1/restores/SERVICE` with the volume that is to be used. */
export async function answerRestoreAct(
  parts: RestoreParts,
  call: Call,
  { body, actor }: { body: object; actor: Actor },
): Promise<Answer> {
  const [, , service, store] = call.path;
  const desk = parts.restores();
  if (desk === undefined) return answerError(call, 503, STARTING);
  if (service === undefined || call.path.length > 4) return answerError(call, 404, "there is no such act");
  if (store === undefined) return answerUse(parts, call, { desk, service, body, actor });
  const asked = parseOrder(service, store, body);
  if (typeof asked === "string") return answerError(call, 400, asked);
  const { order, dryRun } = asked;
  const planned = await desk.plan(order);
  if (typeof planned === "string") return answerError(call, 409, planned);
  if (dryRun) return answerPlan(200, planned, "nothing was done");
  const { backup, to } = planned;
  const refusal = await recordAsk(parts, { actor, action: "backup-restore", what: { service, store, backup, to } });
  if (refusal !== undefined) return answerError(call, 503, refusal);
  const begun = await desk.begin({ ...order, backup }, actor);
  if (typeof begun === "string") return answerError(call, 409, begun);
  return answerPlan(202, begun, `${service}/${store}: ${backup} is restored into ${begun.to}`);
}

function answerPlan(status: 200 | 202, plan: RestorePlan, message: string): Answer {
  const document: RestorePlanDocument = { version: 1, accepted: status === 202, message, plan };
  return answerJson(status, document);
}

interface AskedUse {
  desk: RestoreDesk;
  service: string;
  body: object;
  actor: Actor;
}

async function answerUse(parts: RestoreParts, call: Call, { desk, service, body, actor }: AskedUse): Promise<Answer> {
  const { use, unproven = false, ...rest } = body as Record<string, unknown>;
  if (typeof use !== "string" || typeof unproven !== "boolean" || Object.keys(rest).length > 0)
    return answerError(call, 400, "write which volume is used: { use: VOLUME }");
  const refusal = await recordAsk(parts, { actor, action: "use-volume", what: { service, volume: use } });
  if (refusal !== undefined) return answerError(call, 503, refusal);
  const fault = await desk.use({ service, generation: use, unproven }, actor);
  if (fault !== undefined) return answerError(call, 409, fault);
  return answerJson(202, {
    accepted: true,
    message:
      `${service} gets its data from ${use}: it is stopped now and started in a new container; ` +
      `orca status --watch shows when it is healthy`,
  });
}

function parseOrder(service: string, store: string, body: object): { order: RestoreOrder; dryRun: boolean } | string {
  const { backup, at, dryRun = false, ...rest } = body as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) return `restore knows no ${JSON.stringify(unknown)}`;
  if (backup !== undefined && typeof backup !== "string") return "backup is the name of one";
  if (at !== undefined && (typeof at !== "number" || !Number.isSafeInteger(at)))
    return "at is a moment in milliseconds";
  if (backup !== undefined && at !== undefined) return "name a backup, or a time";
  if (typeof dryRun !== "boolean") return "dryRun is true or false";
  return { order: { service, store, backup, atMs: at }, dryRun };
}

/** Answers why nothing may be done, where the audit log does not take it. */
export async function recordAsk(
  parts: Pick<BackupParts, "record" | "emit" | "clock">,
  { actor, action, what }: { actor: Actor; action: string; what: Record<string, string> },
): Promise<string | undefined> {
  try {
    await parts.record({
      actor: { kind: "user", uid: actor.uid, ...(actor.user === undefined ? {} : { user: actor.user }) },
      action,
      what,
      cause: "asked on the socket",
      result: "ok",
    });
  } catch (error) {
    return `nothing was done: ${readMessage(error)}`;
  }
  parts.emit({
    kind: "acted",
    atMs: parts.clock.nowMs(),
    actor,
    action,
    service: what["service"],
    detail: JSON.stringify(what),
  });
  return undefined;
}
