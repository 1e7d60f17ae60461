// The net under the pushes: each second one peer's view is compared with the own one by a sum, and what differs is sent. Pure.

import { describeSum } from "./holding.ts";
import type { Message } from "./message.ts";
import type { SignedRecord } from "./record.ts";
import { type Link, send, type State } from "./state.ts";
import { NODES_PER_SECOND, RECORDS_PER_DIGEST, REPAIR_EVERY_MS } from "../settings.ts";

/** Lets the next heartbeat to the next peer carry the sum, when it is time. */
export function repairIfDue(state: State): void {
  const isMesh = state.linked.size + 1 >= state.roster.size;
  const everyMs = REPAIR_EVERY_MS * (isMesh ? 1 : Math.max(1, state.roster.size / NODES_PER_SECOND));
  if (state.awakeMs - state.repairMs < everyMs) return;
  state.repairMs = state.awakeMs;
  for (;;) {
    const node = state.repairQueue.pop() ?? refill(state);
    if (node === undefined) return;
    const link = state.peers.get(node)?.link;
    if (link === undefined) continue;
    link.compares = true;
    return;
  }
}

/** Sends a heartbeat. */
export function sendBeat(state: State, link: Link): void {
  send(state, link, link.compares ? { t: "beat", sum: describeSum(state) } : { t: "beat" });
  link.compares = false;
}

/**
 * Each peer of the ring comes once in a round, in an order that is drawn anew. Who has a link only for a word of its owner gets that
 * pushed: where packets are lost, records of others would hold it up.
 */
function refill(state: State): string | undefined {
  const nodes = [...state.ring].filter((node) => state.peers.get(node)?.link !== undefined);
  for (let index = nodes.length - 1; index > 0; index -= 1) {
    const other = Math.floor(state.options.rng() * (index + 1));
    [nodes[index], nodes[other]] = [nodes[other] ?? "", nodes[index] ?? ""];
  }
  state.repairQueue = nodes;
  return state.repairQueue.pop();
}

/** Another view differs from the own one, when its sum does: then both say what they hold. */
export function compareSum(state: State, link: Link, sum: string): void {
  // Who holds the same holds the own record too.
  if (sum === describeSum(state)) state.heardBy.add(link.node);
  else sendDigest(state, link, true);
}

/** Says what is held. */
export function sendDigest(state: State, link: Link, reply: boolean): void {
  const have = Array.from(state.held.values(), (kept) => kept.have);
  state.counts.digestsSent += 1;
  send(state, link, { t: "digest", have, sum: describeSum(state), reply });
}

/** Sends what the other lacks; where it has more, asks for that by an own digest. */
export function takeDigest(state: State, link: Link, { have, sum, reply }: Extract<Message, { t: "digest" }>): void {
  const newer: SignedRecord[] = [];
  let [behind, known] = [false, 0];
  for (const [node, boot, seq] of have) {
    if (node === state.options.node && boot === state.boot) state.heardBy.add(link.node);
    const record = state.held.get(node)?.record;
    if (record === undefined) behind ||= state.roster.has(node);
    else {
      known += 1;
      const order = record.boot - boot || record.seq - seq;
      if (order > 0) newer.push(record);
      else if (order < 0) behind = true;
    }
  }
  if (known < state.held.size) newer.push(...listLacking(state, have));
  const sent = newer.slice(0, RECORDS_PER_DIGEST);
  state.counts.recordsRepaired += sent.length;
  for (const record of sent) send(state, link, { t: "record", record });
  if (reply && behind) sendDigest(state, link, false);
  // Equal versions under unequal sums: two records of one version, from a cloned key. All are sent, the greater wins.
  const isSame = newer.length === 0 && !behind && known === have.length;
  if (!reply || !isSame || sum === describeSum(state)) return;
  for (const { record } of state.held.values()) send(state, link, { t: "record", record });
}

/** What the other has never heard of. */
function listLacking(state: State, have: Extract<Message, { t: "digest" }>["have"]): SignedRecord[] {
  const theirs = new Set(have.map(([node]) => node));
  return [...state.held.values()].flatMap(({ record }) => (theirs.has(record.node) ? [] : [record]));
}
