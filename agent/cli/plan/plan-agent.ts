// `orca plan` without a directory: asks the agent what it would do now. Prints names and never a value of an environment.

import type { ChangeDocument, PlanPreview } from "../../../shared/document/plan-preview.ts";
import type { Operation, Step } from "../../../shared/state/step.ts";
import { cutControlCharacters } from "../../report/text/public-text.ts";
import { describeChange, isNotFollowed, measureNames } from "./change-text.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { endQuietlyOnClosedOutput, printJsonText, printText } from "../frame/terminal.ts";
import type { ServiceState } from "../../../shared/state/status.ts";

/** The options of `orca plan` without a directory. */
export interface PlanAgentOptions extends ClientOptions {
  json?: boolean;
}

/** Shows what the agent would do; answers 0 for nothing, 2 for something and 1 where Git's word for a service is not followed. */
export async function planAgent(options: PlanAgentOptions): Promise<number> {
  endQuietlyOnClosedOutput();
  const answer = await new AgentClient(options).readTrusted("/v1/plan");
  const preview = expectJson<PlanPreview>(answer);
  if (options.json === true) printJsonText(answer.body);
  else printText(printPreview(preview));
  return choosePlanExit(preview);
}

/** How `orca plan` ends: 1 where a manifest is not followed, 2 where something would be done or is held, 0 otherwise. */
export function choosePlanExit({ operations, services, held, changes = [] }: PlanPreview): number {
  if (services.some(({ state }) => NOT_FOLLOWED.has(state)) || changes.some(isNotFollowed)) return EXIT.failed;
  // What cannot start is none of the operations, and yet it is not as Git wants it.
  return operations.length === 0 && held === undefined && !changes.some(hasObstacle) ? EXIT.ok : EXIT.changes;
}

function hasObstacle({ facts }: ChangeDocument): boolean {
  return facts.some(({ code }) => code === "obstacle");
}

/** States of a service whose manifest is not followed: the same that `orca plan DIR` ends with 1 for. */
const NOT_FOLLOWED: ReadonlySet<ServiceState> = new Set<ServiceState>(["invalid", "refused", "held"]);

/** States in which a service is not what Git wants, or not yet, although nothing would be done for it now. */
const HELD_BACK: ReadonlySet<ServiceState> = new Set<ServiceState>([
  "waiting",
  "backoff",
  "rolled-back",
  "held",
  "refused",
  "invalid",
  "stalled",
  "failed",
  "unknown",
]);

/** Prints a look ahead. */
export function printPreview(preview: PlanPreview): string {
  const { node, revision, operations, services, notes, held } = preview;
  const lines = [`node ${node} at ${revision ?? "no revision"}`];
  const changes = (preview.changes ?? []).filter(({ action }) => action !== "none");
  const width = measureNames(changes);
  lines.push(...changes.map((change) => describeChange(change, width)));
  for (const operation of operations) lines.push(...describeOperation(operation));
  if (operations.length === 0) lines.push(changes.length === 0 ? "no change" : "nothing is begun now");
  for (const service of services.filter(({ state, wentBack }) => HELD_BACK.has(state) || wentBack !== undefined))
    lines.push(`${service.name} is ${service.state}: ${service.reason}`);
  for (const note of notes) lines.push(`note: ${note}`);
  if (held !== undefined) {
    for (const { kind, reason } of held.holds) lines.push(`held (${kind}): ${reason}`);
    lines.push(`what the change to ${held.revision} would do:`, ...held.operations.flatMap(describeOperation));
    if (held.operations.length === 0) lines.push("nothing to containers");
  }
  return `${lines.map(cutControlCharacters).join("\n")}\n`;
}

function describeOperation({ lane, cause, steps }: Operation): string[] {
  return [`${lane}: ${cause.kind}: ${cause.detail}`, ...steps.map((step) => `  ${step.kind}${describeTarget(step)}`)];
}

function describeTarget(step: Step): string {
  if (step.kind === "ensure-image") return ` ${step.image}`;
  if (step.kind === "create-container") return ` ${step.name} from ${step.spec.image}`;
  if (step.kind === "ensure-network") return ` ${step.network}`;
  if (step.kind === "ensure-volume") return ` ${step.volume}`;
  if ("container" in step && step.container !== "created") return ` ${step.container.slice(0, 12)}`;
  return "";
}
