// What is known of the webhook, one event at a time: counts, the last answer, and which pushes a reading of the source came
// after, and whether commits come without any. Pure; a part of the status reducer.

import { type Note, noteText } from "../../../shared/state/note.ts";
import type { AgentEvent, SourceState } from "../../../shared/state/event.ts";
import { describeAllowedHosts } from "../../../shared/config/webhook-address.ts";
import type { WebhookRecord } from "./report-state.ts";
import { describeCount } from "../../../shared/text/count.ts";

/** Pushes that no reading has answered yet, remembered by id. */
const MOST_WAITING = 100;

const FRESH = {
  accepted: 0,
  ignored: 0,
  refused: 0,
  last: undefined,
  doubt: undefined,
  waiting: [],
  answered: [],
  polled: { commits: 0, atMs: 0 },
};
/** A forge tells of a push within seconds; a poll may well be sooner. */
const PUSH_DELAY_MS = 60_000;

/** The webhook listens, does not, or was turned off. */
export function listenWebhook(
  before: WebhookRecord | undefined,
  { listen, trouble, atMs }: Extract<AgentEvent, { kind: "webhook" }>,
): WebhookRecord | undefined {
  if (listen === undefined) return undefined;
  const openMs = trouble === undefined ? (before?.openMs ?? atMs) : undefined;
  return { ...(before ?? FRESH), listen, trouble, openMs };
}

/** A request was answered. */
export function addPush(
  before: WebhookRecord | undefined,
  { id, atMs, status, said, doubt, more }: Extract<AgentEvent, { kind: "push" }>,
): WebhookRecord | undefined {
  if (before === undefined) return undefined;
  const counted = {
    ...before,
    last: { id, atMs, status, said },
    answered: [],
    refused: before.refused + more + (status >= 400 ? 1 : 0),
  };
  if (status === 202)
    return {
      ...counted,
      accepted: before.accepted + 1,
      doubt,
      waiting: [...before.waiting, { id, atMs }].slice(-MOST_WAITING),
    };
  return status === 200 ? { ...counted, ignored: before.ignored + 1 } : counted;
}

/** The source was read, or not yet: a push is answered by the first good reading after it. */
export function answerPushes(
  before: WebhookRecord | undefined,
  { readMs = 0, refreshing = false }: SourceState,
): WebhookRecord | undefined {
  if (before === undefined) return undefined;
  // What was under way when a push came may have asked before it.
  const answered = refreshing ? [] : before.waiting.filter(({ atMs }) => atMs <= readMs);
  if (answered.length === 0) return before.answered.length === 0 ? before : { ...before, answered: [] };
  const waiting = before.waiting.filter(({ atMs }) => atMs > readMs);
  return { ...before, waiting, answered: answered.map(({ id }) => id) };
}

/** Counts the commits that were pushed while pushes were taken, and that a poll has found while none has ever come. */
export function countPolled(
  record: WebhookRecord | undefined,
  before: SourceState | undefined,
  { newest, readMs }: SourceState,
): WebhookRecord | undefined {
  if (record?.openMs === undefined || hasHeard(record)) return record;
  if (newest === undefined || before?.newest === undefined || before.newest.revision === newest.revision) return record;
  // What may have been pushed before the webhook listened was told to nobody.
  if (before.readMs === undefined || before.readMs < record.openMs) return record;
  return { ...record, polled: { commits: record.polled.commits + 1, atMs: readMs ?? before.readMs } };
}

function hasHeard({ accepted, ignored }: WebhookRecord): boolean {
  return accepted + ignored > 0;
}

/** What people should know of the webhook. */
export function noteWebhook(record: WebhookRecord | undefined, nowMs: number): Note[] {
  if (record === undefined) return [];
  const known = [record.trouble, record.doubt].flatMap((text) => text ?? []);
  const silence = describeSilence(record, nowMs);
  return [
    ...known.map((text) => noteText(`the webhook: ${text}`)),
    // How many commits came meanwhile makes it no new one.
    ...(silence === undefined ? [] : [{ name: "the webhook is silent", text: `the webhook: ${silence}` }]),
  ];
}

function describeSilence(record: WebhookRecord, nowMs: number): string | undefined {
  const { polled, listen, refused, last } = record;
  if (hasHeard(record) || polled.commits === 0 || nowMs - polled.atMs < PUSH_DELAY_MS) return undefined;
  const came = `${describeCount(polled.commits, "commit")} came`;
  if (refused > 0)
    return `${came} by polling, and every request to ${listen} was refused, the last one with ${last?.status} (${last?.said})`;
  const allowed = describeAllowedHosts(listen);
  return `${came} by polling, and no push ever did: look at the hook and its deliveries at the forge${allowed === undefined ? "" : `; ${allowed}`}`;
}
