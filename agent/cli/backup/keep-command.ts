// `orca backup pin`, `unpin` and `retention --simulate`: what is kept longer than its policy says, and what a policy keeps.

import { type SimulatedYear, simulateYear } from "../../backup/core/simulate-retention.ts";
import type { StoreStatus } from "../../../shared/state/backup.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { parseDuration } from "../../../shared/text/duration.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { layOutTable } from "../../report/text/text-table.ts";
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import { describeOutput, printDocument, printText } from "../frame/terminal.ts";
import { chooseStore, readStores } from "./backup-command.ts";
import { parseMoment } from "./restore-command.ts";

/** The options of `orca backup pin`. */
export interface PinOptions extends ClientOptions {
  service?: string;
  until?: string;
  for?: string;
}

/** The options of `orca backup retention`. */
export interface RetentionOptions extends ClientOptions {
  simulate?: boolean;
  store?: string;
  json?: boolean;
}

/** Keeps a backup until a day: 0, or 1 where it cannot be. */
export async function pinBackup(backup: string, options: PinOptions): Promise<number> {
  const untilMs = readEnd(options);
  return sendPin(backup, options, untilMs);
}

/** Takes that back. */
export function unpinBackup(backup: string, options: PinOptions): Promise<number> {
  return sendPin(backup, options, undefined);
}

function readEnd({ until, for: length }: PinOptions): number {
  if ((until === undefined) === (length === undefined))
    throw new CommandError("say until when: --until 2027-01-31, or --for 90d");
  const untilMs = parseMoment(until);
  if (untilMs !== undefined) return untilMs;
  const lengthMs = parseDuration(length ?? "");
  if (lengthMs === undefined) throw new CommandError(`${length} is no duration: write 90d`);
  return Date.now() + lengthMs;
}

async function sendPin(backup: string, options: PinOptions, untilMs: number | undefined): Promise<number> {
  const answer = await new AgentClient(options).act("/v1/backups/pin", { backup, service: options.service, untilMs });
  printText(expectJson<{ message: string }>(answer).message);
  return EXIT.ok;
}

/** Shows what the policy of a store keeps over a year. */
export async function showRetention(service: string, options: RetentionOptions): Promise<number> {
  if (options.simulate !== true) throw new CommandError("write --simulate: orca backup list shows what there is now");
  const stores = await readStores(new AgentClient(options));
  const name = options.store ?? chooseStore(service, stores);
  const store = stores.find((entry) => entry.service === service && entry.store === name);
  if (store === undefined) throw new CommandError(`${service} has no backup ${name} that is in force here`);
  const year = simulateYear(store.schedule, store.retention, Date.now());
  if (options.json === true) printDocument({ version: 1, service, store: name, ...year });
  else printText(printYear(store, year));
  return EXIT.ok;
}

const DAY_MS = 86_400_000;
/** The ages that people think in. */
const AGES: readonly [string, number][] = [
  ["1 day", 1],
  ["7 days", 7],
  ["14 days", 14],
  ["30 days", 30],
  ["90 days", 90],
  ["a year", 366],
];

/** A table by age, and what it takes at the size of the newest backup. */
export function printYear({ service, store, schedule, backups }: StoreStatus, year: SimulatedYear): string {
  const { kept, made, most, endMs } = year;
  let before = 0;
  const rows = AGES.map(([age, days]) => {
    const found = kept.filter(({ startedMs }) => {
      const old = (endMs - startedMs) / DAY_MS;
      return old > before && old <= days;
    });
    before = days;
    return [`up to ${age}`, String(found.length)];
  });
  const oldestMs = kept.at(-1)?.startedMs ?? endMs;
  const age = describeCount(Math.round((endMs - oldestMs) / DAY_MS), "day");
  const bytes = backups[0]?.storedBytes;
  const size = bytes === undefined ? "" : `, ${describeSize(most * bytes)} at the size of the newest backup`;
  const table = layOutTable([{ heading: "AGE" }, { heading: "KEPT", align: "right" as const }], rows, {
    width: describeOutput().width,
  });
  return [
    `${service}/${store}: ${schedule}, a year of it: ${describeCount(made, "backup")} made, ${kept.length} kept`,
    ...table,
    `the oldest is ${age} old; at most ${most} lay there at once${size}`,
  ].join("\n");
}
