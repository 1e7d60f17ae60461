// Pins of backups over the socket. Each is in the audit log before it is written down.

import type { Actor } from "../../shared/state/event.ts";
import type { PinOrder } from "../../shared/state/backup.ts";
import { type BackupParts, STARTING } from "./backup-routes.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";
import { recordAsk } from "./restore-routes.ts";

/** Answers `POST /v1/backups/pin`. */
export async function answerPin(
  parts: BackupParts,
  call: Call,
  { body, actor }: { body: object; actor: Actor },
): Promise<Answer> {
  const desk = parts.backups();
  if (desk === undefined) return answerError(call, 503, STARTING);
  const order = parsePin(body, parts.clock.nowMs());
  if (typeof order === "string") return answerError(call, 400, order);
  const { backup, service, untilMs } = order;
  const day = untilMs === undefined ? undefined : new Date(untilMs).toISOString();
  const what = {
    backup,
    ...(service === undefined ? {} : { service }),
    ...(day === undefined ? {} : { until: day }),
  };
  const action = untilMs === undefined ? "backup-unpin" : "backup-pin";
  const refusal = await recordAsk(parts, { actor, action, what });
  if (refusal !== undefined) return answerError(call, 503, refusal);
  const fault = await desk.pin(order);
  if (fault !== undefined) return answerError(call, 409, fault);
  const message = day === undefined ? `${backup} is not pinned any more` : `${backup} stays until ${day}`;
  return answerJson(202, { accepted: true, message });
}

function parsePin(body: object, nowMs: number): PinOrder | string {
  const { backup, service, untilMs, ...rest } = body as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) return `pin knows no ${JSON.stringify(unknown)}`;
  if (typeof backup !== "string" || backup === "") return "backup is the name of one";
  if (service !== undefined && typeof service !== "string") return "service is the name of one";
  if (untilMs === undefined) return { backup, service, untilMs: undefined };
  if (typeof untilMs !== "number" || !Number.isSafeInteger(untilMs)) return "untilMs is a moment in milliseconds";
  return untilMs > nowMs ? { backup, service, untilMs } : "that time is over: name one that lies ahead";
}
