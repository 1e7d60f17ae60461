// From what the agent tells to what is known, one event at a time. Pure: report.ts calls it, tests feed it.
// It takes from a turn what status needs and lets the rest go: never an environment value, a file or a log line.

import { describeSaid } from "../../../shared/text/describe-reason.ts";
import { findLaneService } from "../../../shared/state/front.ts";
import type { AgentEvent, SourceState, TurnSummary } from "../../../shared/state/event.ts";
import type { DesiredService, DesiredState } from "../../../shared/state/desired-state.ts";
import type { ExitRecord } from "../../../shared/state/memory.ts";
import { findHealth, type ObservedContainer } from "../../../shared/state/observed-state.ts";
import { dropOutput } from "../../../shared/state/reason.ts";
import type { ServiceView } from "../../../shared/state/status.ts";
import { NODE_LANE } from "../../../shared/state/step.ts";
import { addAct, addDone, addFailed } from "./actions.ts";
import { compareFields, listFields } from "./manifest-fields.ts";
import { followRotation } from "./last-rotation.ts";
import { hidePassword, hidePasswords } from "../text/public-text.ts";
import { followPressure } from "./pressure.ts";
import { addPush, answerPushes, countPolled, listenWebhook } from "./push-record.ts";
import {
  type Action,
  EMPTY_HISTORY,
  KEPT_ACTIONS,
  type ReportState,
  type Sampled,
  type ServiceHistory,
  type ServiceRecord,
  type StatusChange,
} from "./report-state.ts";

/** Takes over one event. */
export function reduceStatus(before: ReportState, event: AgentEvent | Sampled): ReportState {
  const state = before.changes.length === 0 ? before : { ...before, changes: [] };
  switch (event.kind) {
    case "turn":
      return reduceTurn(state, event.turn);
    case "turn-failed": {
      const trouble = { message: event.message.split("\n", 1)[0] ?? "", atMs: event.atMs };
      return { ...state, turn: { ...state.turn, failed: state.turn.failed + 1, trouble } };
    }
    case "step-done":
      return event.changed ? changeActions(state, event.lane, (actions) => addDone(actions, event)) : state;
    case "step-failed":
      return changeActions(state, event.lane, (actions) => addFailed(actions, event));
    case "acted":
      return changeActions(state, event.service ?? NODE_LANE, (actions) => addAct(actions, event));
    case "exited":
      return changeHistory(state, event.exit.service, (history) => countOomExit(history, event.exit, state));
    case "state-not-saved":
      return { ...state, stateTrouble: { message: event.message, atMs: event.atMs } };
    case "host-files-read":
      return { ...state, hostFileTrouble: event.message };
    case "webhook":
      return { ...state, webhook: listenWebhook(state.webhook, event) };
    case "push":
      return { ...state, webhook: addPush(state.webhook, event) };
    case "agent-update":
      return { ...state, update: event.update };
    case "doctor-looked":
      // One that could not look says nothing new of the host.
      return event.look.trouble === undefined ? { ...state, doctor: { look: event.look, atMs: event.atMs } } : state;
    case "sampled":
      return reduceSample(state, event);
    default:
      // These change nothing that status shows by itself.
      event.kind satisfies
        | "backup-ended"
        | "backup-judged"
        | "backup-removed"
        | "backup-restored"
        | "cold-start"
        | "drill-ended"
        | "gossip"
        | "prune-began"
        | "pruned"
        | "prune-ended"
        | "volume-removed"
        | "agent-started"
        | "agent-stopping"
        | "serving"
        | "operation-ended"
        | "settled";
      return state;
  }
}

function reduceTurn(state: ReportState, turn: TurnSummary): ReportState {
  const { engine } = turn.observed;
  const services = new Map<string, ServiceRecord>();
  const changes: StatusChange[] = [];
  for (const view of turn.services) {
    const before = state.services.get(view.name);
    const record = buildRecord(turn, { ...view, fact: dropOutput(view.fact) }, before ?? historyOf(state, view.name));
    services.set(view.name, record);
    if (before?.view.state !== view.state) changes.push(describeChange(turn, record.view, before?.view));
  }
  for (const [name, { view }] of state.services) {
    if (services.has(name) || turn.desired === undefined) continue;
    changes.push({ ...describeChange(turn, view, view), state: undefined, reason: "it is gone" });
  }
  const sinceMs = engine.reachable === state.engine.reachable ? state.engine.sinceMs : turn.endedMs;
  const reason = engine.reachable ? undefined : engine.reason;
  return {
    ...state,
    engine: { reachable: engine.reachable, reason, version: state.engine.version, sinceMs },
    source: keepVouching(state.source, cleanSource(turn.source)),
    webhook: countPolled(answerPushes(state.webhook, turn.source), state.source, turn.source),
    known: state.known || turn.desired !== undefined,
    // Without a desired state a turn says nothing of any service: what was known of them stays.
    services: turn.desired === undefined ? state.services : services,
    history: turn.desired === undefined ? state.history : {},
    unmanaged: engine.reachable ? engine.foreign : state.unmanaged,
    endpoints: Object.fromEntries(turn.observed.endpoints),
    alerts: turn.desired === undefined ? state.alerts : turn.desired.alerts,
    slo: turn.desired === undefined ? state.slo : listPromises(turn.desired),
    dataMount: turn.desired?.dataMount?.mount,
    notes: turn.notes,
    pausedBy: turn.pausedBy,
    secrets: turn.secrets,
    turn: {
      endedMs: turn.endedMs,
      tookMs: Math.max(0, turn.endedMs - turn.startedMs),
      completed: state.turn.completed + 1,
      failed: state.turn.failed,
      trouble: undefined,
    },
    changes,
  };
}

function listPromises({ services }: DesiredState): ReportState["slo"] {
  const promises = [...services].flatMap(([name, { kind, slo, rtoMs }]) =>
    kind === "job" || (slo === undefined && rtoMs === undefined)
      ? []
      : [[name, { ...slo, ...(rtoMs === undefined ? {} : { rtoMs }) }] as const],
  );
  return Object.fromEntries(promises);
}

/** Who signed and who approved is said while a change is new; it stays true of that revision. */
function keepVouching(before: SourceState | undefined, now: SourceState): SourceState {
  if (before === undefined || before.revision !== now.revision) return now;
  const { approval } = before;
  const signer = before.commit?.signer;
  const commit = now.commit !== undefined && signer !== undefined ? { commit: { signer, ...now.commit } } : {};
  return { ...(approval === undefined ? {} : { approval }), ...now, ...commit };
}

function cleanSource(source: SourceState): SourceState {
  const trouble = source.trouble && hidePasswords(source.trouble);
  const notes = source.notes?.map(hidePassword);
  const holds = source.holds.map((hold) => hidePasswords(hold));
  return {
    ...source,
    location: hidePassword(source.location),
    trouble,
    ...(source.fault === undefined ? {} : { fault: hidePassword(source.fault) }),
    holds,
    ...(notes === undefined ? {} : { notes }),
  };
}

function historyOf(state: ReportState, name: string): ServiceHistory {
  // A file may be named as something that every object has.
  return (Object.hasOwn(state.history, name) ? state.history[name] : undefined) ?? EMPTY_HISTORY;
}

function describeChange(turn: TurnSummary, view: ServiceView, before: ServiceView | undefined): StatusChange {
  const { name: service, state, reason } = view;
  const revision = view.revision ?? view.desiredRevision;
  return { service, atMs: turn.endedMs, state, previous: before?.state, reason, revision };
}

function buildRecord(turn: TurnSummary, view: ServiceView, before: ServiceHistory): ServiceRecord {
  const known = before as Partial<ServiceRecord>;
  const desired = turn.desired?.services.get(view.name);
  const container = findContainer(turn, view);
  const health = container === undefined ? undefined : findHealth(turn.observed, container);
  const intent = countOomRun(followIntent(before, desired, turn.endedMs), container, turn.endedMs);
  const at = { view, atMs: turn.endedMs };
  const rotation = followRotation(before.rotation, turn.desired?.rotating.get(view.name), at);
  const history = rotation === undefined ? intent : { ...intent, rotation };
  const running = container?.status === "running" ? container : undefined;
  const pid = running?.pid ?? 0;
  return {
    ...history,
    transitions: addTransition(history, view, turn.endedMs),
    view,
    health: running === undefined ? undefined : health?.status,
    probe: health === undefined ? undefined : describeSaid(health, true),
    pid,
    memoryUsedBytes: pid !== 0 && known.pid === pid ? known.memoryUsedBytes : undefined,
  };
}

function findContainer({ observed }: TurnSummary, view: ServiceView): ObservedContainer | undefined {
  if (!observed.engine.reachable) return undefined;
  return observed.engine.containers.find((container) => container.id === view.container);
}

function addTransition(history: ServiceHistory, view: ServiceView, atMs: number): ServiceHistory["transitions"] {
  const [last] = history.transitions;
  if (last?.to === view.state) return history.transitions;
  return [{ atMs, from: last?.to, to: view.state, reason: view.reason }, ...history.transitions].slice(0, KEPT_ACTIONS);
}

/** A new fingerprint means the intent moved: its fields are named once, and only their short texts are kept. */
function followIntent(before: ServiceHistory, desired: DesiredService | undefined, atMs: number): ServiceHistory {
  if (desired === undefined || desired.fingerprint === before.fingerprint) return before;
  const fields = listFields(desired);
  const { fingerprint, revision } = desired;
  const next = { ...before, fingerprint, revision, fields };
  if (before.fingerprint === undefined || before.revision === undefined) return next;
  const changed = compareFields(before.fields, fields);
  // A comment in a manifest changes its fingerprint and nothing else.
  if (changed.length === 0) return next;
  const peak = changed.some((entry) => entry.field === "image") ? { peakBytes: undefined } : {};
  const change = { atMs, fromRevision: before.revision, toRevision: revision, fields: changed };
  return { ...next, ...peak, change };
}

/** A process of a container that goes on running may have been killed for memory: each run counts once. */
function countOomRun(history: ServiceHistory, container: ObservedContainer | undefined, atMs: number): ServiceHistory {
  if (container?.oomKilled !== true || container.status !== "running") return history;
  const run = `${container.id}@${container.startedMs ?? 0}`;
  return addOom(history, { run, atMs, capBytes: container.caps.memoryBytes });
}

function countOomExit(history: ServiceHistory, exit: ExitRecord, state: ReportState): ServiceHistory {
  if (!exit.oom) return history;
  const capBytes = state.services.get(exit.service)?.view.memoryCapBytes;
  return addOom(history, { run: `${exit.container}@${exit.startedMs ?? 0}`, atMs: exit.finishedMs, capBytes });
}

function addOom(
  history: ServiceHistory,
  oom: { run: string; atMs: number; capBytes: number | undefined },
): ServiceHistory {
  if (history.oom?.run === oom.run) return history;
  const kills = (history.oom?.kills ?? 0) + 1;
  return { ...history, oom: { kills, lastMs: oom.atMs, capBytes: oom.capBytes, run: oom.run } };
}

function changeActions(
  state: ReportState,
  lane: string,
  change: (actions: readonly Action[]) => readonly Action[],
): ReportState {
  if (lane === NODE_LANE) return { ...state, nodeActions: change(state.nodeActions) };
  return changeHistory(state, findLaneService(lane), (history) => ({ ...history, actions: change(history.actions) }));
}

/** Changes what is known of a service, also before a turn has shown it for the first time. */
function changeHistory(
  state: ReportState,
  service: string,
  change: (history: ServiceHistory) => ServiceHistory,
): ReportState {
  const record = state.services.get(service);
  if (record === undefined) {
    return { ...state, history: { ...state.history, [service]: change(historyOf(state, service)) } };
  }
  return { ...state, services: new Map(state.services).set(service, { ...record, ...change(record) }) };
}

function reduceSample(state: ReportState, sample: Sampled): ReportState {
  const services = new Map<string, ServiceRecord>();
  for (const [name, record] of state.services) {
    const used = readUsed(record, sample);
    const peakBytes = used === undefined ? record.peakBytes : Math.max(used, record.peakBytes ?? 0);
    services.set(name, { ...record, memoryUsedBytes: used, peakBytes });
  }
  const engine = { ...state.engine, version: sample.engineVersion ?? state.engine.version };
  const pressure = followPressure(state, sample);
  return { ...state, services, engine, host: sample.host ?? state.host, pressure };
}

/** More than its cap is no reading of this container: its process has ended, and another has got the number. */
function readUsed({ pid, view }: ServiceRecord, sample: Sampled): number | undefined {
  const used = pid === 0 ? undefined : sample.memory.get(pid)?.workingSetBytes;
  const cap = view.memoryCapBytes ?? 0;
  return used !== undefined && cap > 0 && used > cap ? undefined : used;
}
