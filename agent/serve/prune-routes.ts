// Prunes over the socket: how they stand, what one would do now, and one that a person asks for, which is in the audit log before it begins.

import type { PruneDocument } from "../../shared/document/prune-document.ts";
import type { Actor, AgentEvent } from "../../shared/state/event.ts";
import type { PruneChoice, PruneRun } from "../../shared/state/prune.ts";
import type { Clock } from "../host/os/clock.ts";
import type { AuditEntry, AuditLine } from "../report/audit/audit-chain.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";
import { readMessage } from "../../shared/text/read-message.ts";

/** Who prunes this node. */
export interface PruneDesk {
  /** Asks for a prune now; answers why there is none, or undefined once it has begun. */
  ask(early: boolean): string | undefined;
  /** What one would do now; rejects where that cannot be known. */
  preview(early: boolean): Promise<PruneChoice>;
  readonly status: { nextMs: number; runningSinceMs: number | undefined; lastRun: PruneRun | undefined };
}

/** What these routes work with: a part of what all acts do. */
interface PruneParts {
  clock: Clock;
  view: { readonly node: string };
  /** Resolves when the line is on disk. */
  record(entry: AuditEntry): Promise<AuditLine>;
  emit(event: AgentEvent): void;
  /** Undefined while the agent is still starting. */
  prunes: () => PruneDesk | undefined;
}

const STARTING = "the agent is still starting: try again in a moment";

/** Answers `GET /v1/prune`, with `?choice=weekly` or `?choice=early` also what a prune would do. */
export async function answerPrune(parts: PruneParts, call: Call): Promise<Answer> {
  const desk = parts.prunes();
  if (desk === undefined) return answerError(call, 503, STARTING);
  const asked = call.query.get("choice");
  let choice: PruneChoice | undefined;
  try {
    choice = asked === null ? undefined : await desk.preview(asked === "early");
  } catch (error) {
    return answerError(call, 503, readMessage(error));
  }
  const document: PruneDocument = {
    version: 1,
    node: parts.view.node,
    nowMs: parts.clock.nowMs(),
    ...desk.status,
    ...(choice === undefined ? {} : { choice }),
  };
  return answerJson(200, document);
}

/** Answers `POST /v1/prune`. */
export async function answerPruneAct(
  parts: PruneParts,
  call: Call,
  { actor, body }: { actor: Actor; body: object },
): Promise<Answer> {
  const { early = false, ...rest } = body as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) return answerError(call, 400, `prune knows no ${JSON.stringify(unknown)}`);
  if (typeof early !== "boolean") return answerError(call, 400, "early is true or false");
  const desk = parts.prunes();
  if (desk === undefined) return answerError(call, 503, STARTING);
  try {
    await parts.record({
      actor: { kind: "user", uid: actor.uid, ...(actor.user === undefined ? {} : { user: actor.user }) },
      action: "prune",
      what: { early },
      cause: "asked on the socket",
      result: "ok",
    });
  } catch (error) {
    return answerError(call, 503, `nothing was done: ${readMessage(error)}`);
  }
  const refusal = desk.ask(early);
  if (refusal !== undefined) return answerError(call, 409, refusal);
  const detail = JSON.stringify({ early });
  parts.emit({ kind: "acted", atMs: parts.clock.nowMs(), actor, action: "prune", service: undefined, detail });
  return answerJson(202, { accepted: true, message: "what nobody needs is removed now" });
}
