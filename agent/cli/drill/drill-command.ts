// `orca drill` and `orca drill stop`: asks the agent for a drill and follows it to its end, or shows the records.

import { setTimeout as sleep } from "node:timers/promises";

import type { DrillDocument } from "../../../shared/document/drill-document.ts";
import { type DrillRecord, isDrillOverdue, judgeDrill } from "../../../shared/drill/drill.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { describePart, describeResult } from "../../drill/core/drill-text.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printDocument, printText } from "../frame/terminal.ts";

/** The options of `orca drill`. */
export interface DrillRunOptions extends ClientOptions {
  status?: boolean;
  json?: boolean;
}

const LOOK_MS = 500;
/** An agent that is started again in the meantime is waited for so long. */
const AWAY_MS = 60_000;
/** So many of the last ones are shown. */
const SHOWN = 5;

/** Makes a drill and waits for its end: 0 when everything came back in its time, 3 when not, 1 when it did not begin. */
export async function drill(order: { kind: string; service?: string }, options: DrillRunOptions): Promise<number> {
  const client = new AgentClient(options);
  if (options.status === true) return showDrills(client, options);
  const answer = expectJson<{ startedMs: number; message: string }>(await client.act("/v1/drills", order));
  return follow(client, answer.startedMs, options);
}

async function follow(client: AgentClient, startedMs: number, { json }: DrillRunOptions): Promise<number> {
  let told = 0;
  let doing: string | undefined;
  let seenMs = Date.now();
  for (;;) {
    await sleep(LOOK_MS);
    const document = await read(client).catch(() => undefined);
    if (document === undefined && Date.now() - seenMs < AWAY_MS) continue;
    if (document === undefined) throw new CommandError("the agent is gone", EXIT.unreachable);
    seenMs = Date.now();
    const record = document.drills.find((entry) => entry.startedMs === startedMs);
    if (record === undefined) throw new CommandError("the agent has no record of this drill");
    if (json !== true) {
      for (const part of record.parts.slice(told)) printText(describePart(part));
      if (record.endedMs === undefined && document.doing !== undefined && document.doing !== doing)
        printText(`${document.doing}…`);
    }
    [told, doing] = [record.parts.length, document.doing];
    if (record.endedMs === undefined) continue;
    if (json === true) printDocument(record);
    else printText(`${describeResult(record)} The record: ${document.directory}`);
    return judgeDrill(record) === "good" ? EXIT.ok : EXIT.notHealthy;
  }
}

async function read(client: AgentClient): Promise<DrillDocument> {
  return expectJson<DrillDocument>(await client.readTrusted("/v1/drills"));
}

/** 0 while no drill is overdue and the last one was well, 3 otherwise. */
async function showDrills(client: AgentClient, { json }: DrillRunOptions): Promise<number> {
  const document = await read(client);
  const { nowMs, standings, drills, doing } = document;
  if (json === true) printDocument(document);
  else {
    const lines = [
      ...drills.slice(0, SHOWN).flatMap((record) => describeRecord(record, nowMs)),
      ...(doing === undefined ? [] : [`now: ${doing}`]),
      ...standings.map((standing) => {
        const { service, store, drilledMs, dueMs } = standing;
        const last =
          drilledMs === undefined
            ? "never came back in a drill"
            : `came back ${describeDuration(nowMs - drilledMs)} ago`;
        const due = isDrillOverdue(standing, nowMs)
          ? `OVERDUE since ${describeDuration(nowMs - dueMs)}`
          : `due in ${describeDuration(dueMs - nowMs)}`;
        return `${service}/${store}: ${last}; the next drill is ${due}`;
      }),
    ];
    printText(lines.length === 0 ? "no drill yet" : lines.join("\n"));
  }
  const last = drills.find(({ endedMs }) => endedMs !== undefined);
  const isWell = last === undefined || judgeDrill(last) === "good";
  return isWell && !standings.some((standing) => isDrillOverdue(standing, nowMs)) ? EXIT.ok : EXIT.notHealthy;
}

function describeRecord(record: DrillRecord, nowMs: number): string[] {
  const age = `${record.kind}, ${describeDuration(nowMs - record.startedMs)} ago`;
  return [`${age}: ${describeResult(record)}`, ...record.parts.map((part) => `  ${describePart(part)}`)];
}
