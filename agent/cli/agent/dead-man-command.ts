// `orca dead-man`: what orca-dead-man.timer runs once an hour. Looks at the agent from outside, in a process that shares nothing with it, and
// tells the webhook of agent.toml what the agent itself cannot tell. Changes nothing but its own memory.

import { readFile, rename, rm, writeFile } from "node:fs/promises";

import { readHostFile } from "../../host/files/host-files.ts";
import { readSecretFile } from "../../host/files/secret-file.ts";
import { systemClock } from "../../host/os/clock.ts";
import { statePath } from "../../host/state-layout.ts";
import { chooseMessage, type DeadManMemory, judgeLook, type Look } from "../../report/notify/dead-man.ts";
import { Webhook } from "../../report/notify/alert-webhook.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import type { SloDocument } from "../../../shared/document/slo-document.ts";
import { VERSION } from "../../../shared/version.ts";
import { AgentClient, expectJson } from "../frame/client.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { printFault, printText } from "../frame/terminal.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** The options of `orca dead-man`. */
export interface DeadManOptions {
  config: string;
  socket?: string;
}

/** Looks once, and tells. Answers 0 where all is well, 3 where the agent or a recovery point is dead. */
export async function deadMan({ config: path, socket }: DeadManOptions): Promise<number> {
  const config = await readHostFile(agentConfigSchema, path, "config");
  const look = await lookAt(new AgentClient({ socket: socket ?? "/run/orca/agent.sock" }));
  const trouble = judgeLook(look);
  if (trouble === undefined) printText(`${config.node}: the agent lives, and every recovery point is held`);
  else printFault(`${config.node}: ${trouble.state}: ${trouble.reason}`);
  const { alerts } = config;
  if (alerts !== undefined) {
    const file = statePath(config.state.dir, "deadMan");
    const when = { node: config.node, nowMs: systemClock.nowMs(), repeatMs: alerts.repeat };
    const { message, memory } = chooseMessage(look, await readMemory(file), when);
    // What could not be told is told in an hour again.
    if (message === undefined || (await tell(message, alerts.webhook_file))) await keepMemory(file, memory);
  }
  return trouble === undefined ? EXIT.ok : EXIT.notHealthy;
}

async function lookAt(client: AgentClient): Promise<Look> {
  try {
    const { status, body } = await client.read("/healthz", "text/plain");
    if (status !== 200) return { dead: body.trim().split("\n", 1)[0] ?? `it answers ${status}`, slo: undefined };
    return { dead: undefined, slo: expectJson<SloDocument>(await client.readTrusted("/v1/slo")) };
  } catch (error) {
    return { dead: readMessage(error), slo: undefined };
  }
}

async function tell(message: object, webhookFile: string): Promise<boolean> {
  const url = await readSecretFile(webhookFile);
  const webhook = new Webhook({ readUrl: () => url, clock: systemClock, userAgent: `orca/${VERSION}` });
  const delivery = await webhook.deliver(message);
  if (delivery.kind === "delivered") return true;
  const why = delivery.kind === "refused" ? `answers ${delivery.status}` : `does not take it: ${delivery.reason}`;
  printFault(`the alert webhook ${why}; it is told in an hour again`);
  return false;
}

async function readMemory(file: string): Promise<DeadManMemory | undefined> {
  try {
    const { state, atMs } = JSON.parse(await readFile(file, "utf8")) as Partial<DeadManMemory>;
    return typeof state === "string" && typeof atMs === "number" ? { state, atMs } : undefined;
  } catch {
    return undefined;
  }
}

async function keepMemory(file: string, memory: DeadManMemory | undefined): Promise<void> {
  if (memory === undefined) return rm(file, { force: true });
  await writeFile(`${file}.new`, JSON.stringify(memory), { mode: 0o600 });
  return rename(`${file}.new`, file);
}
