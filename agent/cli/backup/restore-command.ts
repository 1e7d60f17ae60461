// `orca backup restore`: asks the agent for a restore into place and follows it, shows what one would do, or says which volume is used.

import { setTimeout as sleep } from "node:timers/promises";

import type { RestoreListDocument, RestorePlanDocument } from "../../../shared/document/restore-document.ts";
import type { CopyOutRun } from "../../../shared/state/backup.ts";
import type { RestorePlan, RestoreStatus } from "../../../shared/state/restore.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { printDocument, printText } from "../frame/terminal.ts";
import { chooseStore, readStores } from "./backup-command.ts";

/** The options of `orca backup restore`. */
export interface RestoreOptions extends ClientOptions {
  store?: string;
  backup?: string;
  at?: string;
  dryRun?: boolean;
  use?: string;
  unproven?: boolean;
  into?: string;
  status?: boolean;
  json?: boolean;
}

const LOOK_MS = 500;
/** How far the same work is, is printed so often. */
const TELL_MS = 5_000;
/** An end is foretold once the work has taken so long and has come so far. */
const RATED_MS = 3_000;
const RATED_SHARE = 0.02;

/** Restores into place and waits for the end: 0 when the service has the data, 1 when not. */
export async function restoreBackup(service: string | undefined, options: RestoreOptions): Promise<number> {
  const client = new AgentClient(options);
  if (options.status === true) return showRestores(client, service, options);
  if (service === undefined) throw new CommandError("name the service whose data is restored");
  if (options.use !== undefined) return useVolume(client, service, options);
  const store = options.store ?? chooseStore(service, await readStores(client));
  if (options.into !== undefined) return copyOut(client, { service, store, into: options.into }, options);
  const order = { backup: options.backup, at: parseMoment(options.at), dryRun: options.dryRun === true };
  const path = `/v1/restores/${encodeURIComponent(service)}/${encodeURIComponent(store)}`;
  const document = expectJson<RestorePlanDocument>(await client.act(path, order));
  if (options.json === true && !document.accepted) printDocument(document);
  else printText(printPlan(document.plan, document.accepted));
  return document.accepted ? follow(client, service) : EXIT.ok;
}

/** Restores a bucket into an empty place and waits for the end: 0 when all of it is there, 1 when not. */
async function copyOut(
  client: AgentClient,
  { service, store, into }: { service: string; store: string; into: string },
  { backup, at, dryRun }: RestoreOptions,
): Promise<number> {
  if (dryRun === true)
    throw new CommandError("--dry-run does not go with --into: an empty place is needed, and nothing else is touched");
  const readLast = async (): Promise<CopyOutRun | undefined> =>
    (await readStores(client)).find((entry) => entry.service === service && entry.store === store)?.lastCopyOut;
  const before = (await readLast())?.endedMs;
  const path = `/v1/backups/${encodeURIComponent(service)}/${encodeURIComponent(store)}/copy-out`;
  const answer = await client.act(path, { backup, at: parseMoment(at), into });
  printText(expectJson<{ message: string }>(answer).message);
  for (;;) {
    await sleep(LOOK_MS);
    const last = await readLast();
    if (last === undefined || last.endedMs === before) continue;
    if (!last.isDone) throw new CommandError(`${service}/${store} was not restored: ${last.detail}`, EXIT.failed);
    printText(`${last.backup}: ${last.detail}`);
    return EXIT.ok;
  }
}

async function useVolume(client: AgentClient, service: string, { use, unproven }: RestoreOptions): Promise<number> {
  const body = { use, ...(unproven === true ? { unproven } : {}) };
  const answer = await client.act(`/v1/restores/${encodeURIComponent(service)}`, body);
  printText(expectJson<{ message: string }>(answer).message);
  return EXIT.ok;
}

/** A moment as people write it; without a zone it is UTC, as the names of backups are. */
export function parseMoment(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const zoned = /(?:Z|[+-]\d{2}:?\d{2})$/i.test(text) || /^\d{4}-\d{2}-\d{2}$/.test(text);
  const ms = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(zoned ? text : `${text.replace(" ", "T")}Z`) : Number.NaN;
  const day = text.slice(0, 10);
  // A day that no calendar has is taken by the parser for one of the next month.
  const isDay = !Number.isNaN(ms) && new Date(`${day}T00:00Z`).toISOString().startsWith(day);
  if (!isDay) throw new CommandError(`${text} is no time: write 2026-11-20T02:17Z`);
  return ms;
}

function printPlan(plan: RestorePlan, begun: boolean): string {
  const { service, store, backup, backupMs, verified, storedBytes, steps } = plan;
  const proof = verified ? "verified" : "NOT verified";
  const head = `${service}/${store}: ${backup} of ${new Date(backupMs).toISOString()}, ${describeSize(storedBytes)}, ${proof}`;
  const title = begun ? "what is done:" : "what would be done, and was not:";
  return [head, title, ...steps.map((step, at) => `  ${at + 1}. ${step}`)].join("\n");
}

/** Prints each stage once, and how far the work in it is, until it has ended. An agent that is started again goes on. */
async function follow(client: AgentClient, service: string): Promise<number> {
  let told = { line: "", doing: "", atMs: 0 };
  for (;;) {
    await sleep(LOOK_MS);
    const document = await readRestores(client).catch(() => undefined);
    const newest = document?.restores.find((entry) => entry.service === service);
    if (document === undefined || newest === undefined) continue;
    const { outcome } = newest;
    if (newest.stage === "ended") return printEnd(service, outcome);
    const { nowMs } = document;
    const line = describeNow(newest, nowMs);
    const doing = `${newest.stage} ${newest.progress?.doing ?? line}`;
    if (line === told.line || (doing === told.doing && nowMs - told.atMs < TELL_MS)) continue;
    printText(line);
    told = { line, doing, atMs: nowMs };
  }
}

function printEnd(service: string, outcome: RestoreStatus["outcome"]): number {
  const { kind, detail } = outcome ?? { kind: "failed", detail: "nobody said why" };
  if (kind !== "restored") throw new CommandError(`${service} was not restored: ${detail}`, EXIT.failed);
  printText(`${service} is restored: ${detail}`);
  return EXIT.ok;
}

/** What is done now, its rate, and when it will be done at that rate. */
export function describeNow({ stage, to, progress, waitsFor }: RestoreStatus, nowMs: number): string {
  if (stage !== "filling") {
    const what = stage === "switching" ? `the service gets ${to}` : stage;
    return waitsFor === undefined ? what : `${what}: ${waitsFor}`;
  }
  if (progress === undefined) return `${to} is made`;
  const { doing, doneBytes, totalBytes, sinceMs } = progress;
  const took = Math.max(1, nowMs - sinceMs);
  if (totalBytes === 0 || doneBytes === 0) return doing;
  const rate = (doneBytes / took) * 1_000;
  const left = ((totalBytes - doneBytes) / rate) * 1_000;
  // What a second or a few bytes say of the rest is nothing.
  const isKnown = took >= RATED_MS && doneBytes >= totalBytes * RATED_SHARE;
  const end = !isKnown || left < 500 ? "" : `, done in about ${describeDuration(Math.ceil(left / 1_000) * 1_000)}`;
  return `${doing}: ${describeSize(doneBytes)} of ${describeSize(totalBytes)}, ${describeSize(Math.round(rate))}/s${end}`;
}

async function readRestores(client: AgentClient): Promise<RestoreListDocument> {
  return expectJson<RestoreListDocument>(await client.readTrusted("/v1/restores"));
}

/** Shows the restores of this node, newest first. */
async function showRestores(
  client: AgentClient,
  service: string | undefined,
  { json }: RestoreOptions,
): Promise<number> {
  const document = await readRestores(client);
  const restores = document.restores.filter((entry) => service === undefined || entry.service === service);
  if (json === true) printDocument({ ...document, restores });
  else printText(restores.map((entry) => describeRestore(entry, document.nowMs)).join("\n") || "no restore yet");
  return EXIT.ok;
}

function describeRestore(restore: RestoreStatus, nowMs: number): string {
  const { service, store, backup, from, to, stage, startedMs, outcome } = restore;
  const head = `${service}/${store}: ${backup} into ${to} in place of ${from}, ${describeDuration(nowMs - startedMs)} ago`;
  const state = stage === "ended" ? `${outcome?.kind}: ${outcome?.detail}` : describeNow(restore, nowMs);
  return `${head}\n  ${state}`;
}
