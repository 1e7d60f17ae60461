// How fast a fleet knows what happens, and what knowing costs, at 3, 10 and 30 nodes. Beside it stands Serf, measured in the same
// run by a harness of its own, where ORCA_SERF_HARNESS names one.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { Extent } from "./extent.ts";
import { measureChanges, measureFreezes, measureKills } from "./fleet-scenario.ts";
import { MemberFleet, now } from "./members.ts";
import type { Row } from "./table.ts";

const SIZES = (process.env["ORCA_FLEET_SIZES"] ?? "3,10,30").split(",").map(Number);
const ROUNDS = { changes: 40, kills: 5, freezes: 4, idleMs: 30_000 };
const SMOKE_ROUNDS: typeof ROUNDS = { changes: 3, kills: 1, freezes: 1, idleMs: 2_000 };
const SERF_ROUNDS = ["--kills", String(ROUNDS.kills), "--stops", String(ROUNDS.freezes), "--tags", "0"];

/** What was measured of one fleet. Times in milliseconds. */
interface Measured {
  changeOne: number[];
  changeLast: number[];
  killed: number[];
  back: number[];
  backFromSpawn: number[];
  frozen: number[];
  idleBytes: number;
  idlePackets: number;
  cpuPercent: number;
  residentMiB: number;
}

/** Measures every size; one row for each question. */
export async function measureFleet({ isSmoke }: Extent): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of isSmoke ? [3] : SIZES) {
    const measured = await measureOne(count, isSmoke ? SMOKE_ROUNDS : ROUNDS);
    rows.push(...describeRows(count, measured, isSmoke ? undefined : measureSerf(count)));
  }
  return rows;
}

async function measureOne(count: number, rounds: typeof ROUNDS): Promise<Measured> {
  const fleet = new MemberFleet();
  try {
    await fleet.create(count);
    const from = now();
    for (const member of fleet.members) fleet.start(member);
    await fleet.times(({ what }) => what === "all", { sinceMs: from });
    await sleep(3_000);
    const idle = await measureIdleCost(fleet, rounds.idleMs);
    const { one, last } = await measureChanges(fleet, rounds.changes);
    const losses = await measureKills(fleet, rounds.kills);
    const frozen = await measureFreezes(fleet, rounds.freezes);
    return { changeOne: one, changeLast: last, ...losses, frozen, ...idle };
  } finally {
    await fleet.destroy();
  }
}

async function measureIdleCost(
  fleet: MemberFleet,
  idleMs: number,
): Promise<Pick<Measured, "idleBytes" | "idlePackets" | "cpuPercent" | "residentMiB">> {
  const [sent, costs] = [fleet.readSent(), fleet.readCosts()];
  await sleep(idleMs);
  const [sentAfter, costsAfter] = [fleet.readSent(), fleet.readCosts()];
  const perSecond = (read: (index: number) => number): number =>
    mean(fleet.members.map((_, index) => read(index))) / (idleMs / 1_000);
  return {
    idleBytes: perSecond((index) => (sentAfter[index]?.bytes ?? 0) - (sent[index]?.bytes ?? 0)),
    idlePackets: perSecond((index) => (sentAfter[index]?.packets ?? 0) - (sent[index]?.packets ?? 0)),
    cpuPercent: 100 * perSecond((index) => (costsAfter[index]?.cpuSeconds ?? 0) - (costs[index]?.cpuSeconds ?? 0)),
    residentMiB: mean(costsAfter.map(({ residentBytes }) => residentBytes)) / 2 ** 20,
  };
}

interface SerfStat {
  count: number;
  p50: number;
  p99: number;
  max: number;
}

/** What the harness writes. */
interface SerfResult {
  userEvent: { perMember: SerfStat; toLastMember: SerfStat };
  kill9: { lastMemberKnows: SerfStat; backAliveEverywhere: SerfStat };
  sigstop: { lastMemberKnows: SerfStat };
  idle: {
    rssMiB: SerfStat;
    cpuPctOfOneCore: { mean: number };
    txBytesPerSec: { mean: number };
    txPacketsPerSec: number;
  };
}

/** What Serf did on this machine in the same run; undefined without a harness. */
function measureSerf(count: number): SerfResult | undefined {
  const harness = process.env["ORCA_SERF_HARNESS"];
  if (harness === undefined) return undefined;
  const directory = mkdtempSync(join(tmpdir(), "orca-serf-"));
  const out = join(directory, "result.json");
  execFileSync(process.execPath, [harness, "--n", String(count), ...SERF_ROUNDS, "--out", out], {
    stdio: "ignore",
  });
  const result = JSON.parse(readFileSync(out, "utf8")) as SerfResult;
  rmSync(directory, { recursive: true, force: true });
  return result;
}

function describeRows(count: number, measured: Measured, serf: SerfResult | undefined): Row[] {
  const row = (question: string, orca: string, beside: string | undefined): Row => {
    return { question: `${count} nodes: ${question}`, orca, beside: beside === undefined ? "" : `Serf ${beside}` };
  };
  const tell = (stat: SerfStat | undefined): string | undefined =>
    stat === undefined ? undefined : `${stat.p50} / ${stat.p99} / ${stat.max} ms (${stat.count})`;
  const { idle } = serf ?? {};
  const sent = idle === undefined ? undefined : `${idle.txBytesPerSec.mean} B/s, ${idle.txPacketsPerSec} packets/s`;
  const cost = idle === undefined ? undefined : `${idle.cpuPctOfOneCore.mean} %, ${idle.rssMiB.p50} MiB`;
  return [
    row("a change, one member: p50 / p99 / max", show(measured.changeOne), tell(serf?.userEvent.perMember)),
    row("a change, last member", show(measured.changeLast), tell(serf?.userEvent.toLastMember)),
    row("kill -9 known by the last", show(measured.killed), tell(serf?.kill9.lastMemberKnows)),
    row("restarted, from its first line until alive everywhere", show(measured.back), undefined),
    row("restarted, from its spawn", show(measured.backFromSpawn), tell(serf?.kill9.backAliveEverywhere)),
    row("frozen, known by the last", show(measured.frozen), tell(serf?.sigstop.lastMemberKnows)),
    row(
      "idle, sent by each",
      `${Math.round(measured.idleBytes)} B/s, ${measured.idlePackets.toFixed(1)} packets/s`,
      sent,
    ),
    row("idle, CPU and resident", `${measured.cpuPercent.toFixed(2)} %, ${measured.residentMiB.toFixed(0)} MiB`, cost),
  ];
}

function show(list: readonly number[]): string {
  const times = list.toSorted(ascending);
  const at = (share: number): string =>
    (times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN).toFixed(1);
  return `${at(0.5)} / ${at(0.99)} / ${(times.at(-1) ?? Number.NaN).toFixed(1)} ms (${times.length})`;
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}

function ascending(left: number, right: number): number {
  return left - right;
}
