// Drills over the socket: the records, and one that a person asks for. Each ask is in the audit log before anything is begun.

import type { DrillDocument } from "../../shared/document/drill-document.ts";
import type { DrillKind } from "../../shared/drill/drill.ts";
import type { Actor } from "../../shared/state/event.ts";
import { type BackupParts, STARTING } from "./backup-routes.ts";
import { type Answer, answerError, answerJson, type Call } from "./http-answer.ts";
import { recordAsk } from "./restore-routes.ts";

/** What a person asks for. */
type DrillOrder = { kind: Exclude<DrillKind, "stop"> } | { kind: "stop"; service: string };

/** Who makes the drills of this node. */
export interface DrillDesk {
  read(): Promise<DrillDocument>;
  /** Why it cannot begin now; undefined where it may. */
  refuse(order: DrillOrder): Promise<string | undefined>;
  /** Begins it; answers when it began, which names it, or why it does not. */
  begin(order: DrillOrder, actor: Actor): Promise<{ startedMs: number } | string>;
}

/** What these routes work with. */
export interface DrillParts extends Omit<BackupParts, "backups"> {
  /** Who answers for drills; undefined while the agent is still starting. */
  drills: () => DrillDesk | undefined;
}

const ACTIONS: Readonly<Record<DrillKind, string>> = { stores: "drill", full: "drill-full", stop: "drill-stop" };

/** Answers `GET /v1/drills`. */
export async function answerDrillList(parts: DrillParts, call: Call): Promise<Answer> {
  const desk = parts.drills();
  return desk === undefined ? answerError(call, 503, STARTING) : answerJson(200, await desk.read());
}

/** Answers `POST /v1/drills`, with the kind in the body. */
export async function answerDrillAct(
  parts: DrillParts,
  call: Call,
  { body, actor }: { body: object; actor: Actor },
): Promise<Answer> {
  const desk = parts.drills();
  if (desk === undefined) return answerError(call, 503, STARTING);
  if (call.path.length !== 2) return answerError(call, 404, "there is no such act");
  const order = parseOrder(body);
  if (typeof order === "string") return answerError(call, 400, order);
  const refused = await desk.refuse(order);
  if (refused !== undefined) return answerError(call, 409, refused);
  const what = order.kind === "stop" ? { service: order.service } : {};
  const fault = await recordAsk(parts, { actor, action: ACTIONS[order.kind], what });
  if (fault !== undefined) return answerError(call, 503, fault);
  const begun = await desk.begin(order, actor);
  if (typeof begun === "string") return answerError(call, 409, begun);
  const message = "the drill begins: orca drill --status shows how far it is";
  return answerJson(202, { accepted: true, ...begun, message });
}

function parseOrder(body: object): DrillOrder | string {
  const { kind = "stores", service, ...rest } = body as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) return `a drill knows no ${JSON.stringify(unknown)}`;
  if (kind === "stop")
    return typeof service === "string" ? { kind, service } : "name the service that is stopped: { kind, service }";
  if (service !== undefined) return "service goes with the kind stop alone";
  return kind === "stores" || kind === "full" ? { kind } : "the kind of a drill is stores, full or stop";
}
