// When somebody must be told, and of what. Pure, and by level: what is told is compared with what is, so that a lost or
// held-back message is made up for by the next look.
//   critical: failed, stalled, invalid, refused, held, rolled-back; engine unreachable 30 s; a change held for a person; the
//             loop failing 60 s; audit log not writable; a disk below 10 %
//             secrets all refused for 5 min; a backup that cannot be restored; a broken rpo (backup-conditions.ts); a broken
//             availability or rto, a node that is lost (promise-conditions.ts)
//   warning:  backoff, unhealthy; waiting or starting, or a source or secrets unreadable, for 5 min; approval asked for; a disk below 20 %;
//             a run that made no backup; for an hour, what a weekly look at the host found that the one before had not
//             a drill that is due; a service killed for memory in the last hour; for ten minutes, 80 % of the memory or 70 % of the processors in use
//   info:     paused; a freeze, or another node's turn; resolved (told to whoever was told of the trouble)

import { describeReason } from "../../../shared/text/describe-reason.ts";
import type { Hold } from "../../../shared/state/hold.ts";
import { describeTrouble } from "../../../shared/text/words/hold-words.ts";
import type { HelpTopic } from "../../../shared/text/help-topic.ts";
import { compareText } from "../../../shared/text/problem.ts";
import { findToldCode, type Reason, type ReasonOf } from "../../../shared/state/reason.ts";
import type { ServiceState } from "../../../shared/state/status.ts";
import { findServicePage, findSourcePage } from "../status/trouble-pages.ts";
import type { DiskSample, ReportState, ServiceRecord } from "../status/report-state.ts";

/** How much it matters. */
export type Severity = "info" | "warning" | "critical";

/** Something that can be in trouble, and how it is now. */
export interface Condition {
  /** The service's name, or the part of the node. */
  subject: string;
  service: string | undefined;
  state: string;
  /** Undefined: it is as it should be. `undecided`: too early to say, so what was told stays told. */
  severity: Severity | undefined | "undecided";
  reason: string;
  revision: string | undefined;
  /** The page that says what to do. */
  page: HelpTopic | undefined;
}

/** What was told, kept over a restart of the agent. */
export interface AlertMemory {
  /** Subject → the trouble it is known to be in. */
  told: Readonly<Record<string, { state: string; severity: Severity }>>;
  /** Subject and state → when that was last told. */
  sent: Readonly<Record<string, number>>;
  /** Subject → since when it has not been as it should be. */
  since: Readonly<Record<string, number>>;
  /** When the last messages went out, for the rate. */
  recent: readonly number[];
}

/** Nothing told yet. */
export const EMPTY_ALERTS: AlertMemory = { told: {}, sent: {}, since: {}, recent: [] };

/** One message to send. */
export interface Alert extends Condition {
  severity: Severity;
  previous: string | undefined;
  resolved: boolean;
  atMs: number;
}

/** What decides who is told, and how often. */
export interface AlertLimits {
  min: Severity;
  /** The same service and state is told once in so long. */
  repeatMs: number;
}

export const RANK: Readonly<Record<Severity, number>> = { info: 0, warning: 1, critical: 2 };
const SLOW_MS = 300_000;
const SOURCE_MS = 300_000;
const SECRETS_MS = 300_000;
const ENGINE_MS = 30_000;
const LOOP_MS = 60_000;
const LOW_DISK_SHARE = 0.2;
const FULL_DISK_SHARE = 0.1;
/** Trouble that lasts so long after "resolved" is told again, although the same was told within `repeatMs`. */
const LASTING_MS = 600_000;
const RATE = { most: 30, withinMs: 600_000 };

const SEVERITIES: Partial<Record<ServiceState, Severity | "undecided">> = {
  failed: "critical",
  stalled: "critical",
  invalid: "critical",
  refused: "critical",
  held: "critical",
  "rolled-back": "critical",
  backoff: "warning",
  unhealthy: "warning",
  paused: "info",
  waiting: "undecided",
  starting: "undecided",
  pulling: "undecided",
  // The engine does not answer: that is told of the engine, once.
  unknown: "undecided",
};

/** Lists how everything that can be in trouble is now. */
export function listConditions(state: ReportState, nowMs: number, auditTrouble: string | undefined): Condition[] {
  const services = [...state.services.values()].map((record) => judgeService(record, nowMs));
  return [...services, ...judgeNode(state, nowMs, auditTrouble)];
}

function judgeService({ view }: ServiceRecord, nowMs: number): Condition {
  const { name, state, reason } = view;
  const revision = view.revision ?? view.desiredRevision;
  const slow = (state === "waiting" || state === "starting") && nowMs - view.sinceMs >= SLOW_MS;
  const unsettled = state === "healthy" && !view.settled;
  const severity = slow ? "warning" : unsettled ? "undecided" : SEVERITIES[state];
  const page = findServicePage({ ...view, code: findToldCode(view.fact) });
  return { subject: name, service: name, state, severity, reason, revision, page };
}

function judgeNode(state: ReportState, nowMs: number, auditTrouble: string | undefined): Condition[] {
  const revision = state.source?.revision;
  const build = (
    subject: string,
    bad: string,
    trouble: [Condition["severity"], string] | undefined,
    page: HelpTopic = "runbook",
  ): Condition => ({
    subject,
    service: undefined,
    revision,
    state: trouble === undefined ? "ok" : bad,
    severity: trouble?.[0],
    reason: trouble?.[1] ?? "",
    page,
  });
  const since = (atMs: number | undefined, graceMs: number, severity: Severity): Condition["severity"] =>
    nowMs - (atMs ?? 0) >= graceMs ? severity : "undecided";
  const { engine, source, turn, secrets } = state;
  const holds = source?.holds ?? [];
  return [
    build(
      "@engine",
      "unreachable",
      engine.reachable ? undefined : [since(engine.sinceMs, ENGINE_MS, "critical"), engine.reason ?? ""],
    ),
    build(
      "@source",
      holds.length > 0 ? "held" : "unreadable",
      source?.trouble === undefined
        ? undefined
        : [
            judgeHolds(holds) ?? since(source.readMs ?? state.beganMs, SOURCE_MS, "warning"),
            describeTrouble(source.trouble),
          ],
      findSourcePage(holds),
    ),
    build(
      "@agent",
      "failing",
      turn.trouble === undefined ? undefined : [since(turn.endedMs, LOOP_MS, "critical"), turn.trouble.message],
    ),
    build(
      "@secrets",
      secrets?.refused === true ? "refused" : "unreadable",
      secrets && [since(secrets.sinceMs, SECRETS_MS, secrets.refused ? "critical" : "warning"), secrets.reason],
      "secrets",
    ),
    build("@takeover", "replaced", judgeTakeover(state)),
    build("@audit", "not-written", auditTrouble === undefined ? undefined : ["critical", auditTrouble]),
    build("@update", "stuck", judgeUpdate(state.update), "update"),
    build("@doctor", "weak", judgeLook(state.doctor, nowMs), "doctor"),
    ...(state.host?.disks ?? []).map((disk) => build(`@disk:${disk.path}`, "full", judgeDisk(disk))),
  ];
}

/** A spare stands in this node's place: everything of it is stopped. */
function judgeTakeover({ services }: ReportState): [Severity, string] | undefined {
  const fact = [...services.values()].map(({ view }) => view.fact).find((one) => findReplaced(one) !== undefined);
  const replaced = fact && findReplaced(fact);
  return replaced && ["critical", describeReason(replaced, 0)];
}

function findReplaced(fact: Reason): ReasonOf<"replaced"> | undefined {
  if (fact.code === "stopping") return findReplaced(fact.why);
  return fact.code === "replaced" ? fact : undefined;
}

/** What a person must look at is critical; an approval is asked for; a freeze and another node's turn end by themselves. */
const HOLDS: Readonly<Record<Hold["kind"], Severity>> = {
  refused: "critical",
  trust: "critical",
  removal: "critical",
  approval: "warning",
  freeze: "info",
  rollout: "info",
};

/** The gravest of what holds a change; undefined where nothing does. */
function judgeHolds(holds: readonly Hold[]): Severity | undefined {
  return holds.map(({ kind }) => HOLDS[kind]).toSorted((left, right) => RANK[right] - RANK[left])[0];
}

/** Before it was looked at, nothing is known to be over. */
function judgeUpdate(update: ReportState["update"]): [Condition["severity"], string] | undefined {
  if (update === undefined) return ["undecided", ""];
  const { stage, why = "", wanted = "", running } = update;
  if (stage === "stuck") return ["warning", `${running} runs, fleet.toml wants ${wanted}: ${why}`];
  return stage === "none" ? undefined : ["undecided", ""];
}

/** So long what is new at the host is told, in case a first message gets lost; after that only when it is gone, or something is new again. */
const FRESH_MS = 3_600_000;
const MOST_NAMED = 5;

/** What the look before knew already stays told. Before the first look of this agent nothing is known to be gone. */
function judgeLook(doctor: ReportState["doctor"], nowMs: number): [Condition["severity"], string] | undefined {
  if (doctor === undefined) return ["undecided", "the host was not looked at yet"];
  const { look, atMs } = doctor;
  if (look.fresh.length === 0) return look.weak === 0 ? undefined : ["undecided", ""];
  const told = look.fresh.slice(0, MOST_NAMED).map(({ id, check, what }) => `${id} ${check}: ${what}`);
  const more = look.fresh.length - told.length;
  const reason = `new at the host: ${told.join("; ")}${more > 0 ? `; and ${more} more` : ""}: see orca doctor`;
  return [nowMs - atMs < FRESH_MS ? "warning" : "undecided", reason];
}

function judgeDisk(disk: DiskSample): [Severity, string] | undefined {
  const free = disk.totalBytes <= 0 ? 1 : disk.freeBytes / disk.totalBytes;
  const inodes = disk.inodes <= 0 ? 1 : disk.inodesFree / disk.inodes;
  const least = Math.min(free, inodes);
  if (least >= LOW_DISK_SHARE) return undefined;
  const what = `${Math.floor(least * 100)} % of its ${inodes < free ? "inodes are" : "space is"} free`;
  return [least < FULL_DISK_SHARE ? "critical" : "warning", `${disk.path}: ${what}`];
}

/** Compares what is with what was told; answers what to send now, the gravest first. */
export function judgeAlerts(
  memory: AlertMemory,
  conditions: readonly Condition[],
  limits: AlertLimits,
  nowMs: number,
): { memory: AlertMemory; alerts: Alert[] } {
  const known = new Set(conditions.map((condition) => condition.subject));
  const gone = Object.keys(memory.told)
    .filter((subject) => !known.has(subject))
    .map((subject) => ({ ...GONE, subject, service: subject.startsWith("@") ? undefined : subject }));
  const all = [...conditions, ...gone];
  const since = followTrouble(memory.since, all, nowMs);
  const due = all
    .flatMap((condition) => judgeOne({ ...memory, since }, condition, limits, nowMs))
    .toSorted((left, right) => RANK[right.severity] - RANK[left.severity] || compareText(left.subject, right.subject));
  const recent = memory.recent.filter((atMs) => atMs <= nowMs && nowMs - atMs < RATE.withinMs);
  const alerts = due.slice(0, Math.max(0, RATE.most - recent.length));
  const told = { ...memory.told };
  const sent = dropOld(memory.sent, limits.repeatMs, nowMs);
  for (const { subject, state, severity, resolved } of alerts) {
    sent[keyOf(subject, resolved ? "resolved" : state)] = nowMs;
    if (resolved) delete told[subject];
    else told[subject] = { state, severity };
  }
  return { memory: { told, sent, since, recent: [...recent, ...alerts.map(() => nowMs)] }, alerts };
}

const GONE = {
  state: "gone",
  severity: undefined,
  reason: "it is no longer there",
  revision: undefined,
  page: undefined,
};

/** The wall clock was set: what was told is as long ago as it was. */
export function moveAlerts(memory: AlertMemory, byMs: number): AlertMemory {
  if (byMs === 0) return memory;
  const move = (times: Readonly<Record<string, number>>): Record<string, number> =>
    Object.fromEntries(Object.entries(times).map(([key, atMs]) => [key, atMs + byMs]));
  const { told, sent, since, recent } = memory;
  return { ...memory, told, sent: move(sent), since: move(since), recent: recent.map((atMs) => atMs + byMs) };
}

/** Takes back what could not be delivered: the next look tells it anew. */
export function forgetAlert(memory: AlertMemory, alert: Alert): AlertMemory {
  const { subject, state, resolved } = alert;
  const key = keyOf(subject, resolved ? "resolved" : state);
  const { [key]: _sent, ...sent } = memory.sent;
  if (resolved) {
    const told = { ...memory.told, [subject]: { state: alert.previous ?? "unknown", severity: alert.severity } };
    return { ...memory, sent, told: memory.told[subject] === undefined ? told : memory.told };
  }
  const { [subject]: _told, ...told } = memory.told;
  return { ...memory, sent, told: memory.told[subject]?.state === state ? told : memory.told };
}

function followTrouble(
  before: AlertMemory["since"],
  conditions: readonly Condition[],
  nowMs: number,
): Record<string, number> {
  const troubled = conditions.filter(
    ({ subject, severity }) => severity !== undefined && (severity !== "undecided" || before[subject] !== undefined),
  );
  return Object.fromEntries(troubled.map(({ subject }) => [subject, Math.min(before[subject] ?? nowMs, nowMs)]));
}

function judgeOne(memory: AlertMemory, condition: Condition, limits: AlertLimits, nowMs: number): Alert[] {
  const { subject, state, severity } = condition;
  const told = memory.told[subject];
  if (severity === "undecided") return [];
  const wasSent = (what: string): boolean => {
    const atMs = memory.sent[keyOf(subject, what)];
    return atMs !== undefined && atMs <= nowMs && nowMs - atMs < limits.repeatMs;
  };
  if (severity === undefined) {
    if (told === undefined || wasSent("resolved")) return [];
    return [{ ...condition, severity: "info", previous: told.state, resolved: true, atMs: nowMs }];
  }
  if (RANK[severity] < RANK[limits.min]) return [];
  const lasting = told === undefined && nowMs - (memory.since[subject] ?? nowMs) >= LASTING_MS;
  if (wasSent(state) && !lasting) return [];
  return [{ ...condition, severity, previous: told?.state, resolved: false, atMs: nowMs }];
}

function dropOld(sent: AlertMemory["sent"], repeatMs: number, nowMs: number): Record<string, number> {
  return Object.fromEntries(Object.entries(sent).filter(([, atMs]) => atMs <= nowMs && nowMs - atMs < repeatMs));
}

function keyOf(subject: string, state: string): string {
  return `${subject} ${state}`;
}
