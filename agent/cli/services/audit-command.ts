// `orca audit` and `orca audit verify`: reads the audit log's file itself, so that it also works on a copy and without an agent.

import { createReadStream, existsSync } from "node:fs";
import { access, constants } from "node:fs/promises";
import { dirname } from "node:path";

import { statePath } from "../../host/state-layout.ts";
import { type AuditLine, ChainWalk } from "../../report/audit/audit-chain.ts";
import { readHead } from "../../report/audit/audit-recover.ts";
import { listSegments } from "../../host/files/audit-segments.ts";
import { cutControlCharacters } from "../../report/text/public-text.ts";
import { listAgentSockets } from "../../host/os/agent-sockets.ts";
import { AgentClient, type ClientOptions } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { endQuietlyOnClosedOutput, printFault, printText } from "../frame/terminal.ts";
import type { AuditHead } from "../../../shared/document/audit-head.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** The options of `orca audit`. */
export interface AuditOptions extends ClientOptions {
  state?: string;
  file?: string;
  tail?: string;
  head?: string;
  from?: string;
  identity?: string;
}

const DEFAULT_STATE = "/var/lib/orca";

/** Prints the last lines readably. */
export async function showAudit(options: AuditOptions): Promise<number> {
  endQuietlyOnClosedOutput();
  const count = Number(options.tail ?? 50);
  if (!Number.isSafeInteger(count) || count < 0)
    throw new CommandError(`--tail ${options.tail} is not a number of lines`);
  const last: string[] = [];
  for await (const { text } of readAll(await findLog(options))) {
    last.push(text);
    if (last.length > count) last.shift();
  }
  for (const text of last) printText(describeLine(text));
  return EXIT.ok;
}

/** Walks the chain; answers 0 where it holds and 1 where it breaks. */
export async function verifyAudit(options: AuditOptions): Promise<number> {
  const { from, identity, head } = options;
  if (from !== undefined) {
    if (options.file !== undefined || options.state !== undefined)
      throw new CommandError("--from reads copies alone: leave --file and --state out");
    const { verifyCopies } = await import("./verify-copies.ts");
    return verifyCopies({
      from,
      ...(identity === undefined ? {} : { identity }),
      ...(head === undefined ? {} : { head }),
    });
  }
  const path = await findLog(options);
  const kept = await readHead(path);
  const walk = new ChainWalk(kept === undefined ? [] : [kept]);
  let found = options.head === undefined;
  let torn: number | undefined;
  let number = 0;
  for await (const { text, whole } of readAll(path)) {
    number += 1;
    if (!whole) {
      torn = number;
      break;
    }
    if (!walk.push(text)) break;
    found ||= text.includes(`"hash":"${options.head}"`);
  }
  const verdict = walk.end();
  if (!verdict.ok) return tellBreak(path, verdict.line, verdict.message);
  if (torn !== undefined)
    return tellBreak(path, torn, "it has no end: the agent was cut off while it wrote, or it was edited");
  if (!found)
    return tellBreak(path, verdict.head.seq + 1, `no line has the hash ${options.head}: lines were cut off the end`);
  tellWhole(verdict.head);
  return EXIT.ok;
}

function tellWhole({ seq, hash }: AuditHead): void {
  printText(`${describeCount(seq, "line")}, the chain holds; head ${hash}`);
}

function tellBreak(path: string, line: number, message: string): number {
  printFault(`orca: ${path}: line ${line}: ${message}`);
  return EXIT.failed;
}

async function findLog(options: AuditOptions): Promise<string> {
  const path = options.file ?? (await findStateLog(options));
  try {
    await access(path, constants.R_OK);
    return path;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") throw new CommandError(`this user may not read ${path}: use sudo`);
    throw new CommandError(
      `there is no audit log at ${path}: say where with --state DIR (orca up: /var/lib/orca/up/<node>) or --file`,
    );
  }
}

/** Of a state directory, of the agent whose socket was named, or of whichever is here. */
async function findStateLog(options: AuditOptions): Promise<string> {
  const client = new AgentClient(options);
  const state = options.state ?? (client.isNamed ? await client.findStateDir() : undefined);
  if (state !== undefined) return statePath(state, "audit");
  // The agent that was named is down: of one that `orca up` ran, the log lies beside the socket.
  return client.isNamed ? statePath(dirname(client.socketPath), "audit") : findDefaultLog();
}

/** The installed agent's log; where there is none, that of the one agent that `orca up` runs here, whose socket lies beside it. */
export function findDefaultLog(
  sockets: readonly string[] = listAgentSockets(),
  installed = statePath(DEFAULT_STATE, "audit"),
): string {
  if (existsSync(installed)) return installed;
  const beside = sockets.map((socket) => statePath(dirname(socket), "audit")).filter((path) => existsSync(path));
  return beside.length === 1 ? (beside[0] ?? installed) : installed;
}

/** The lines of the log's earlier files and of the one that is written to, as one log. */
async function* readAll(path: string): AsyncGenerator<{ text: string; whole: boolean }> {
  for (const file of [...(await listSegments(path)), path]) yield* readLines(file);
}

/** The lines of a file, in constant memory; `whole` is false for a last line without its end. */
async function* readLines(path: string): AsyncGenerator<{ text: string; whole: boolean }> {
  let rest = "";
  for await (const chunk of createReadStream(path, { encoding: "utf8" }) as AsyncIterable<string>) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const text of lines) yield { text, whole: true };
  }
  if (rest !== "") yield { text: rest, whole: false };
}

/** `17 2026-11-21 12:00:00Z uid 1000 (ada) restart keycloak: …` */
function describeLine(text: string): string {
  let line: AuditLine;
  try {
    line = JSON.parse(text) as AuditLine;
  } catch {
    return `not readable: ${cutControlCharacters(text.slice(0, 100))}`;
  }
  const { seq, at, action, cause, result, message } = line;
  const { service, container, ...parameters } = line.what;
  const where = [service, container?.slice(0, 12)].filter((part) => part !== undefined).join(" ");
  const details = Object.keys(parameters).length === 0 ? "" : ` ${JSON.stringify(parameters)}`;
  const from = line.from === undefined ? "" : ` from ${JSON.stringify(line.from)}`;
  const end = result === "ok" ? "" : ` FAILED: ${message ?? ""}`;
  const time = `${at.slice(0, 10)} ${at.slice(11, 19)}Z`;
  return cutControlCharacters(
    `${seq} ${time} ${describeActor(line.actor)} ${action} ${where}${details}${from}${cause === undefined ? "" : ` (${cause})`}${end}`,
  );
}

function describeActor(actor: AuditLine["actor"]): string {
  switch (actor.kind) {
    case "user":
      return `uid ${actor.uid}${actor.user === undefined ? "" : ` (${actor.user})`}`;
    case "commit":
      return [
        `commit ${actor.revision ?? ""}`.trim(),
        ...(actor.author === undefined ? [] : [`by ${actor.author}`]),
        ...(actor.signer === undefined ? [] : [`signed by ${actor.signer}`]),
        ...(actor.approval === undefined ? [] : [`approved by ${actor.approval}`]),
      ].join(" ");
    case "agent":
      return "agent";
    default:
      return actor satisfies never;
  }
}
