// `orca backup run` and `orca backup list`: asks the agent, which makes the backups and knows the repositories.

import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { BackupListDocument } from "../../../shared/document/backup-document.ts";
import type { BackupRun, KnownBackup, LeftStore, LogStatus, StoreStatus } from "../../../shared/state/backup.ts";
import { describeDuration } from "../../../shared/text/duration.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { layOutTable } from "../../report/text/text-table.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { describeOutput, printDocument, printFault, printText } from "../frame/terminal.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { chooseBest, sayBest } from "./best-backup.ts";

/** The options of `orca backup list`. */
export interface BackupListOptions extends ClientOptions {
  json?: boolean;
}

/** The options of `orca backup verify`. */
export interface BackupVerifyOptions extends ClientOptions {
  backup?: string;
}

const LOOK_MS = 500;

/** Makes a backup now and waits for its end: 0 when it was made, 3 when it was and something is not as it should be, 1 when none was. */
export async function runBackup(service: string, name: string | undefined, options: ClientOptions): Promise<number> {
  const { store, after } = await askFor("run", { service, name, options }, (status) => status.lastRun?.endedMs);
  const { lastRun, backups } = after;
  if (lastRun?.made === undefined)
    throw new CommandError(
      [
        `no backup was made: ${lastRun?.reason}`,
        ...(lastRun?.advice ?? []),
        ...(lastRun?.warning === undefined ? [] : [lastRun.warning]),
      ].join("\n"),
      EXIT.failed,
    );
  const made = backups.find((backup) => backup.name === lastRun.made);
  const size = made === undefined ? "" : `, ${describeSize(made.storedBytes)}`;
  const took = describeDuration(lastRun.endedMs - lastRun.startedMs);
  const faults = describeFaults({ service, store }, lastRun);
  printText(
    [
      `${service}/${store}: ${lastRun.made}, made in ${took}${size}${faults.length > 0 ? ", but:" : ""}`,
      ...faults.map((fault) => `  ${fault}`),
      ...(lastRun.warning === undefined ? [] : [`it says: ${lastRun.warning}`]),
    ].join("\n"),
  );
  return faults.length > 0 ? EXIT.notHealthy : EXIT.ok;
}

/** What is not as it should be although a backup was made: a line each. */
export function describeFaults(
  { service, store }: Pick<StoreStatus, "service" | "store">,
  { made, repositories = [], quarantined, hooks }: BackupRun,
): string[] {
  const lacking = repositories.flatMap(({ repository, reason }) =>
    reason === undefined ? [] : [`${repository} did not get it: ${reason}`],
  );
  const aside = `set aside: ${quarantined}: it does not count for rpo; if that is right, orca backup verify ${service} ${store} --backup ${made} accepts it`;
  return [...lacking, ...(quarantined === undefined ? [] : [aside]), ...(hooks === undefined ? [] : [hooks])];
}

/** Restores the newest backup, or a named one, into a throw-away server: 0 when it is good, 1 when bad, 3 when it cannot be judged. */
export async function verifyBackup(
  service: string,
  name: string | undefined,
  options: BackupVerifyOptions,
): Promise<number> {
  const { backup: named } = options;
  const newest = ({ lastVerify, log }: StoreStatus): number | undefined => {
    const ended = [lastVerify, log?.lastVerify].flatMap((run) => run?.endedMs ?? []);
    return ended.length === 0 ? undefined : Math.max(...ended);
  };
  const asked = { service, name, options, body: { backup: named } };
  const { after, before = 0 } = await askFor("verify", asked, newest);
  // A store with bases has both proved, unless one was named.
  const runs = [after.lastVerify, after.log?.lastVerify].flatMap((run) =>
    run === undefined || run.endedMs <= before ? [] : [run],
  );
  for (const { backup, repository, verdict, detail } of runs) {
    const where = repository === undefined ? "" : ` in ${repository}`;
    printText(`${backup}${where}: ${verdict === "unknown" ? "cannot be judged" : verdict}: ${detail}`);
  }
  if (runs.some(({ verdict }) => verdict === "bad")) return EXIT.failed;
  return runs.every(({ verdict }) => verdict === "good") ? EXIT.ok : EXIT.notHealthy;
}

interface Asked {
  service: string;
  name: string | undefined;
  options: ClientOptions;
  body?: object;
}

/** Asks the agent for one thing and waits until it has ended, which the time that `read` gives tells. */
async function askFor(
  act: "run" | "verify",
  { service, name, options, body }: Asked,
  read: (status: StoreStatus) => number | undefined,
): Promise<{ store: string; after: StoreStatus; before: number | undefined }> {
  const client = new AgentClient(options);
  const stores = await readStores(client);
  const store = name ?? chooseStore(service, stores);
  const found = findStore(stores, service, store);
  const before = found === undefined ? undefined : read(found);
  const path = `/v1/backups/${encodeURIComponent(service)}/${encodeURIComponent(store)}/${act}`;
  const { message } = expectJson<{ message: string }>(await client.act(path, body));
  printText(message);
  for (;;) {
    await sleep(LOOK_MS);
    const after = findStore(await readStores(client), service, store);
    if (after === undefined) throw new CommandError(`${service}/${store} is not in force here any more`);
    const endedMs = read(after);
    if (endedMs !== undefined && endedMs !== before && after.runningSinceMs === undefined)
      return { store, after, before };
  }
}

/** Prints every backup of a service, or of all: 0, or 3 where a store has none. */
export async function listBackups(service: string | undefined, options: BackupListOptions): Promise<number> {
  const client = new AgentClient(options);
  const document = expectJson<BackupListDocument>(await client.readTrusted("/v1/backups"));
  const stores = document.stores.filter((entry) => service === undefined || entry.service === service);
  const left = (document.left ?? []).filter((entry) => service === undefined || entry.service === service);
  const { replacedBy } = document;
  if (replacedBy !== undefined) printFault(`orca: ${sayReplaced(replacedBy)}`);
  else if (service !== undefined && stores.length + left.length === 0)
    throw new CommandError(`${service} has no backups that are in force here`);
  if (options.json === true) printDocument({ ...document, stores, ...(left.length > 0 && { left }) });
  else {
    const texts = stores.length > 0 || left.length === 0 ? [printStores(stores, document.nowMs)] : [];
    printText([...texts, ...left.map(describeLeft), ...describeKey(document)].join("\n\n"));
  }
  return stores.every(({ backups }) => backups.length > 0) ? EXIT.ok : EXIT.notHealthy;
}

/** Nothing of Orca's looks at them any more: how one is restored by hand stands in its record. */
function describeLeft({ service, store, directory, count, newest }: LeftStore): string {
  return (
    `${service}/${store}: no longer in a manifest; ${describeCount(count, "backup")} in ${directory}, which nothing removes or proves\n` +
    `  ${newest}.manifest.json there says under restoreWith how the newest is restored without Orca`
  );
}

/** Said where something is encrypted: without it nothing of that can be proved here. */
function describeKey({ backupKey, stores }: BackupListDocument): string[] {
  const isNamed = stores.some(({ namedKey }) => namedKey !== undefined && namedKey === backupKey);
  const isUsed = stores.some(({ backups }) => backups.some(({ encrypted }) => encrypted));
  return backupKey === undefined || isNamed || !isUsed
    ? []
    : [`this node's key, for fleet.toml: backup_key = "${backupKey}"`];
}

/** The stores of the node. Throws where a spare stands in its place. */
export async function readStores(client: AgentClient): Promise<readonly StoreStatus[]> {
  const { stores, replacedBy } = expectJson<BackupListDocument>(await client.readTrusted("/v1/backups"));
  if (replacedBy !== undefined) throw new CommandError(sayReplaced(replacedBy));
  return stores;
}

function sayReplaced(replacedBy: string): string {
  return `${replacedBy}: its backups are made, proved and restored there, and none here`;
}

function findStore(stores: readonly StoreStatus[], service: string, store: string): StoreStatus | undefined {
  return stores.find((entry) => entry.service === service && entry.store === store);
}

/** A service with one backup needs no name of it. */
export function chooseStore(service: string, stores: readonly StoreStatus[]): string {
  const own = stores.filter((entry) => entry.service === service).map(({ store }) => store);
  const [only] = own;
  if (only === undefined) throw new CommandError(`${service} has no backups that are in force here`);
  if (own.length > 1)
    throw new CommandError(
      `${service} has ${describeCount(own.length, "backup")}: write one of ${own.join(", ")} after it`,
    );
  return only;
}

function printStores(stores: readonly StoreStatus[], nowMs: number): string {
  if (stores.length === 0) return "no service of this node has a backup in its manifest";
  return stores.map((store) => printStore(store, nowMs)).join("\n\n");
}

function printStore(store: StoreStatus, nowMs: number): string {
  const head = `${store.service}/${store.store}: ${store.engine}, ${store.schedule}, to ${store.repository}`;
  const table =
    store.backups.length === 0
      ? "no backup yet"
      : layOutBackups(store, { heading: "BACKUP", all: store.backups }, nowMs);
  const best = chooseBest(store.backups);
  const restore =
    best === undefined
      ? []
      : [
          `restore ${best.name} (${sayBest(best)}) without Orca, in ${dirname(best.files[0] ?? "")}:`,
          ...best.restoreWith.map((line) => `  ${line}`),
        ];
  const log = store.log === undefined ? [] : describeLog(store, store.log, nowMs);
  return [head, ...describeTrouble(store, nowMs), table, ...restore, ...log].join("\n");
}

function layOutBackups(
  { repositories }: StoreStatus,
  { heading, all }: { heading: string; all: readonly KnownBackup[] },
  nowMs: number,
): string {
  const hasSeveral = repositories.length > 1;
  const rows = all.map((backup) => [
    backup.name,
    describeDuration(nowMs - backup.startedMs),
    describeSize(backup.storedBytes),
    describeVerdict(backup) + describePin(backup, nowMs),
    ...(hasSeveral ? [backup.repositories.map(describePlace).join(", ")] : []),
  ]);
  const columns = [
    { heading },
    { heading: "AGE", align: "right" as const },
    { heading: "SIZE", align: "right" as const },
    { heading: "VERIFIED" },
    ...(hasSeveral ? [{ heading: "IN" }] : []),
  ];
  return layOutTable(columns, rows, { width: describeOutput().width }).join("\n");
}

/** The bases, and back to which moments each repository leads. */
function describeLog(store: StoreStatus, { bases, repositories, lastVerify }: LogStatus, nowMs: number): string[] {
  const table = bases.length === 0 ? "no base yet" : layOutBackups(store, { heading: "BASE", all: bases }, nowMs);
  const said =
    lastVerify === undefined || lastVerify.verdict === "good"
      ? []
      : [
          `${lastVerify.backup} ${lastVerify.verdict === "bad" ? "cannot be restored with all of its log" : "could not be judged"}: ${lastVerify.detail}`,
        ];
  const reach = repositories.flatMap(({ name, trouble, spans, gaps }) => {
    if (trouble !== undefined) return [`the log in ${name} cannot be read: ${trouble}`];
    if (spans.length === 0) return [`the log in ${name}: no base is complete yet`];
    const words = spans.map(
      ({ fromMs, untilMs }) =>
        `from ${describeSecond(Math.ceil(fromMs / 1_000))} until ${describeSecond(Math.floor(untilMs / 1_000))}`,
    );
    return [
      `the log in ${name}: back to any second ${words.join(", and ")}`,
      ...gaps.map(
        ({ from, to, first, last }) =>
          `  a gap from ${from} to ${to}: ${first === last ? `the segment ${first}` : `the segments ${first} to ${last}`}`,
      ),
    ];
  });
  return [...said, table, ...reach];
}

function describeSecond(second: number): string {
  return new Date(second * 1_000).toISOString().replace(".000Z", "Z");
}

function describePin({ pinnedUntilMs = 0, keepUntilMs = 0 }: KnownBackup, nowMs: number): string {
  const said = [
    ["pinned", pinnedUntilMs],
    ["kept", keepUntilMs],
  ] as const;
  return said
    .filter(([, untilMs]) => untilMs > nowMs)
    .map(([word, untilMs]) => `, ${word} until ${new Date(untilMs).toISOString().slice(0, 10)}`)
    .join("");
}

/** A repository that has it, and what a restore from there has shown. */
function describePlace({ name, verdict }: KnownBackup["repositories"][number]): string {
  return verdict === undefined ? name : `${name} (${verdict === "unknown" ? "cannot be judged" : verdict})`;
}

function describeVerdict({ verdict, quarantined }: KnownBackup): string {
  if (quarantined !== undefined) return `set aside: ${quarantined}`;
  if (verdict === undefined) return "no";
  return verdict.verdict === "good" ? "good" : verdict.verdict === "bad" ? "BAD" : "cannot be judged";
}

function describeLastRun({ reason, advice = [], warning, hooks, endedMs }: BackupRun, nowMs: number): string[] {
  const lines: string[] = [];
  if (reason !== undefined)
    lines.push(`the last run, ${describeDuration(nowMs - endedMs)} ago, made none: ${reason}`, ...advice);
  if (warning !== undefined) lines.push(`the last run${reason === undefined ? " made one, and" : ""} says: ${warning}`);
  if (hooks !== undefined) lines.push(`the last run made one, and a hook failed: ${hooks}`);
  return lines;
}

function describeTrouble(
  { trouble, lastRun, lastVerify, runningSinceMs, nextMs, strange, repositories }: StoreStatus,
  nowMs: number,
): string[] {
  const lines: string[] = [];
  if (trouble !== undefined) lines.push(trouble);
  if (lastRun !== undefined) lines.push(...describeLastRun(lastRun, nowMs));
  if (lastVerify !== undefined && lastVerify.verdict !== "good")
    lines.push(
      `${lastVerify.backup} ${lastVerify.verdict === "bad" ? "cannot be restored" : "could not be judged"}: ${lastVerify.detail}`,
    );
  if (runningSinceMs !== undefined) lines.push(`a run goes on since ${describeDuration(nowMs - runningSinceMs)}`);
  else if (nextMs !== undefined) lines.push(`the next one begins in ${describeDuration(Math.max(0, nextMs - nowMs))}`);
  for (const { name, trouble: unread, reason, foreign } of repositories) {
    if (foreign !== undefined)
      lines.push(
        `${name} has ${describeCount(foreign.count, "backup")} by a machine that has lost this node's place, to ${foreign.backup}: they are left alone`,
      );
    if (unread !== undefined && unread !== trouble) lines.push(`${name} cannot be read: ${unread}`);
    else if (reason !== undefined && lastRun?.reason === undefined)
      lines.push(`${name} did not get the last one: ${reason}`);
  }
  if (strange.length > 0) lines.push(`no backups, and left alone: ${strange.join(", ")}`);
  return lines;
}
