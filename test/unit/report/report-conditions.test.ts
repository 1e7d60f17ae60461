// What of promises, room and other nodes is trouble: who tells of a lost node, how long a node must be full, who takes most of it; and
// which week an issue is of.

import { expect, test } from "vitest";

import { nameIssue } from "../../../agent/report/notify/gitea-issues.ts";
import { listCapacityConditions, listPeerConditions } from "../../../agent/report/notify/promise-conditions.ts";
import { beginState, type HostSample, type ReportState } from "../../../agent/report/status/report-state.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import type { PeerView } from "../../../agent/gossip/core/gossip.ts";
import { buildContainer, buildTurn, buildView, NOW_MS } from "../../builders/node/turns.ts";

const MINUTE = 60_000;
const GIB = 2 ** 30;

function see(node: string, state: PeerView["state"], forMs = 10 * MINUTE): PeerView {
  return { node, state, why: "no answer", forMs, stale: undefined, silenceMs: 0, words: undefined };
}

test("of a lost node the reachable one with the lowest name tells, after a minute; others keep what they have told", () => {
  const told = (own: string, peers: PeerView[]): unknown[] =>
    listPeerConditions(peers, own).map(({ subject, severity }) => [subject, severity]);
  expect(told("vm2", [see("vm1", "alive"), see("vm3", "dead")])).toEqual([
    ["@node:vm1", undefined],
    ["@node:vm3", "undecided"],
  ]);
  expect(told("vm1", [see("vm2", "alive"), see("vm3", "dead")])[1]).toEqual(["@node:vm3", "critical"]);
  expect(told("vm2", [see("vm1", "dead"), see("vm3", "dead", 30_000)])).toEqual([
    ["@node:vm1", "critical"],
    ["@node:vm3", "undecided"],
  ]);
  // Ended as it was told to, or not heard yet: nobody is woken.
  expect(told("vm1", [see("vm2", "left"), see("vm3", "unknown"), see("vm4", "suspect")])).toEqual([
    ["@node:vm2", undefined],
    ["@node:vm3", "undecided"],
    ["@node:vm4", "undecided"],
  ]);
});

const HOST: HostSample = {
  memoryTotalBytes: 10 * GIB,
  memoryAvailableBytes: 6 * GIB,
  cpus: 2,
  cpuLoadPercent: 5,
  uptimeSeconds: 1,
  disks: [],
};

function sample(
  state: ReportState,
  atMs: number,
  host: Partial<HostSample>,
  cpu?: ReadonlyMap<number, number>,
): ReportState {
  const memory = new Map([
    [1, { workingSetBytes: GIB }],
    [2, { workingSetBytes: 3 * GIB }],
  ]);
  const known = { kind: "sampled", atMs, host: { ...HOST, ...host }, engineVersion: undefined, memory } as const;
  return reduceStatus(state, cpu === undefined ? known : { ...known, cpu });
}

test("a node is full once it has been so for ten minutes without a break, and the largest is named", () => {
  const views = ["small", "large"].map((name) => buildView(name, { memoryCapBytes: 8 * GIB }));
  const containers = [buildContainer("small", { pid: 1 }), buildContainer("large", { pid: 2 })];
  const turn = buildTurn({ views, containers });
  let state = reduceStatus(beginState(NOW_MS), { kind: "turn", atMs: NOW_MS, turn });
  const judge = (atMs: number): unknown[] => listCapacityConditions(state, atMs).map(({ severity }) => severity);
  state = sample(state, NOW_MS, { memoryAvailableBytes: 1.9 * GIB, cpuLoadPercent: 75 });
  expect(judge(NOW_MS)).toEqual(["undecided", "undecided"]);
  state = sample(state, NOW_MS + 5 * MINUTE, { memoryAvailableBytes: 1.9 * GIB, cpuLoadPercent: 60 });
  expect(judge(NOW_MS + 9 * MINUTE)).toEqual(["undecided", undefined]);
  const spent = new Map([
    [1, 900],
    [2, 100],
  ]);
  state = sample(state, NOW_MS + 10 * MINUTE, { memoryAvailableBytes: 1.9 * GIB, cpuLoadPercent: 75 }, spent);
  expect(judge(NOW_MS + 10 * MINUTE)).toEqual(["warning", "undecided"]);
  const reasons = listCapacityConditions(state, NOW_MS + 20 * MINUTE).map(({ reason }) => reason);
  expect(reasons).toEqual([
    "81 % of the node's memory is in use; large takes most of it: 3GiB",
    "the processors have been 75 % busy for ten minutes; small takes most of it",
  ]);
  state = sample(state, NOW_MS + 21 * MINUTE, {});
  expect(judge(NOW_MS + 21 * MINUTE)).toEqual([undefined, undefined]);
});

test.each([
  ["2026-01-01T00:00:00Z", "2026-W01"],
  ["2025-12-29T00:00:00Z", "2026-W01"],
  ["2025-12-28T23:59:59Z", "2025-W52"],
  ["2027-01-03T12:00:00Z", "2026-W53"],
  ["2027-01-04T00:00:00Z", "2027-W01"],
  ["2026-12-01T07:00:00Z", "2026-W49"],
])("an issue of %s is of the week %s; what is over is told where its trouble was", (at, week) => {
  const common = { at, state: "oom", previous: null, resolved: false };
  expect(nameIssue(common)).toBe(`Orca alert oom, week ${week}`);
  expect(nameIssue({ ...common, state: "ok", previous: "oom", resolved: true })).toBe(`Orca alert oom, week ${week}`);
});
