// What is known of the webhook, one event at a time: counts, the last answer, and which pushes a reading of the source came
// after. Pure; a part of the status reducer.

import type { AgentEvent, SourceState } from "../../shared/event.ts";
import type { WebhookRecord } from "./report-state.ts";

/** Pushes that no reading has answered yet, remembered by id. */
const MOST_WAITING = 100;

/** The webhook listens, does not, or was turned off. */
export function listenWebhook(
  before: WebhookRecord | undefined,
  { listen, trouble }: Extract<AgentEvent, { kind: "webhook" }>,
): WebhookRecord | undefined {
  if (listen === undefined) return undefined;
  const fresh = { accepted: 0, ignored: 0, refused: 0, last: undefined, waiting: [], answered: [] };
  return { ...(before ?? fresh), listen, trouble };
}

/** A request was answered. */
export function addPush(
  before: WebhookRecord | undefined,
  { id, atMs, status, said, more }: Extract<AgentEvent, { kind: "push" }>,
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
