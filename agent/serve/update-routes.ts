// What a person has asked of the agent's own versions: the agent writes the line into the audit log, which has one writer.

import type { Actor } from "../../shared/state/event.ts";
import type { BackupParts } from "./backup-routes.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";
import { recordAsk } from "./restore-routes.ts";

/** Answers `POST /v1/update/retry`, before what has failed is forgotten. */
export async function answerUpdateRetry(
  parts: Pick<BackupParts, "record" | "emit" | "clock">,
  call: Call,
  { actor, body }: { actor: Actor; body: object },
): Promise<Answer> {
  const { versions, ...rest } = body as Record<string, unknown>;
  if (typeof versions !== "string" || Object.keys(rest).length > 0)
    return answerError(call, 400, "name the versions that may be tried again: { versions }");
  const fault = await recordAsk(parts, { actor, action: "update-retry", what: { versions } });
  return fault === undefined ? answerJson(202, { accepted: true }) : answerError(call, 503, fault);
}
