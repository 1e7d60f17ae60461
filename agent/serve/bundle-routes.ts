// What `orca bundle`, `orca escrow` and `orca recover` have done on this host while the agent runs: the agent writes the line into the audit
// log, which has one writer.

import type * as z from "zod";

import { evidenceSchema } from "../bundle/core/bundle-evidence.ts";
import { recoveryEvidenceSchema } from "../setup/recovery-evidence.ts";
import type { Actor, AgentEvent } from "../../shared/state/event.ts";
import type { Clock } from "../host/os/clock.ts";
import type { AuditEntry, AuditLine } from "../report/audit/audit-chain.ts";
import { readMessage } from "../../shared/text/read-message.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";

/** What this route works with: a part of what all acts do. */
interface BundleParts {
  clock: Clock;
  /** Resolves when the line is on disk. */
  record(entry: AuditEntry): Promise<AuditLine>;
  emit(event: AgentEvent): void;
}

/** Answers `POST /v1/bundle`. */
export function answerBundle(parts: BundleParts, call: Call, asked: Asked): Promise<Answer> {
  return answerEvidence(parts, call, { ...asked, schema: evidenceSchema, what: "a bundle", by: "orca bundle" });
}

/** Answers `POST /v1/recovery`. */
export function answerRecovery(parts: BundleParts, call: Call, asked: Asked): Promise<Answer> {
  const by = "action" in asked.body && asked.body.action === "recover" ? "orca recover" : "orca escrow";
  return answerEvidence(parts, call, { ...asked, schema: recoveryEvidenceSchema, what: "a recovery", by });
}

interface Asked {
  actor: Actor;
  body: object;
}

/** What is recorded of what a command has done. */
interface Evidence extends Pick<AuditEntry, "action" | "result"> {
  what: Record<string, unknown>;
  message?: string | undefined;
}

async function answerEvidence(
  parts: BundleParts,
  call: Call,
  { actor, body, schema, what: about, by }: Asked & { schema: z.ZodType<Evidence>; what: string; by: string },
): Promise<Answer> {
  const parsed = schema.safeParse(body);
  if (!parsed.success) return answerError(call, 400, `this says nothing of ${about} that could be recorded`);
  const { action, what, result, message } = parsed.data;
  const { uid, user } = actor;
  try {
    const line = await parts.record({
      actor: { kind: "user", uid, ...(user === undefined ? {} : { user }) },
      action,
      what: Object.fromEntries(Object.entries(what).filter(([, value]) => value !== undefined)),
      cause: `asked by ${by}`,
      result,
      ...(message === undefined ? {} : { message }),
    });
    const detail = JSON.stringify(what);
    parts.emit({ kind: "acted", atMs: parts.clock.nowMs(), actor, action, service: undefined, detail });
    return answerJson(202, { accepted: true, audit: { seq: line.seq, hash: line.hash } });
  } catch (error) {
    return answerError(call, 503, `it was not recorded: ${readMessage(error)}`);
  }
}
