// `orca plan` without a directory: asks the agent what it would do now. Prints names and never a value of an environment.

import type { PlanPreview } from "../../../shared/document/plan-preview.ts";
import type { Operation, Step } from "../../../shared/state/step.ts";
import { cutControlCharacters } from "../../report/text/public-text.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { endQuietlyOnClosedOutput, printJsonText, printText } from "../frame/terminal.ts";
import type { ServiceState } from "../../../shared/state/status.ts";

/** The options of `orca plan` without a directory. */
export interface PlanAgentOptions extends ClientOptions {
  json?: boolean;
}

/** Shows what the agent would do; answers 0 for nothing and 2 for something. */
export async function planAgent(options: PlanAgentOptions): Promise<number> {
  endQuietlyOnClosedOutput();
  const answer = await new AgentClient(options).readTrusted("/v1/plan");
  const preview = expectJson<PlanPreview>(answer);
  if (options.json === true) printJsonText(answer.body);
  else printText(printPreview(preview));
  const count = preview.operations.length + (preview.held?.operations.length ?? 0);
  return count === 0 ? EXIT.ok : EXIT.changes;
}

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
  for (const operation of operations) lines.push(...describeOperation(operation));
  if (operations.length === 0) lines.push("no change");
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
