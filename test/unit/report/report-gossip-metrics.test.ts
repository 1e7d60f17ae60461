// The metrics of the gossip: names, labels from closed sets alone, and few series however large the realm.

import { afterEach, describe, expect, test } from "vitest";

import { buildColdStartReport } from "../../../agent/desired/cold-start/cold-start-report.ts";
import type { PeerView } from "../../../agent/gossip/core/gossip.ts";
import type { FleetReader } from "../../../agent/report/status/fleet-builder.ts";
import { REFUSAL_KINDS } from "../../../shared/fleet/gossip-stats.ts";
import { TestReport } from "../../builders/node/report.ts";
import { buildView, NOW_MS, STATS } from "../../builders/node/turns.ts";

let report: TestReport | undefined;
afterEach(() => report?.dispose());

function buildPeer(node: string, parts: Partial<PeerView> = {}): PeerView {
  return { node, state: "alive", why: "", forMs: 1_000, stale: undefined, silenceMs: 400, words: undefined, ...parts };
}

async function scrape(parts: { fleet?: FleetReader; coldStarts?: TestParts["coldStarts"] }): Promise<string[]> {
  report = await new TestReport({ parts: parts as Partial<TestParts> }).start();
  report.turn({ views: [buildView("web", { state: "waiting", waitingFor: ["vm2/db"] })] });
  return (await report.get("/metrics")).body.split("\n");
}
type TestParts = NonNullable<NonNullable<ConstructorParameters<typeof TestReport>[0]>["parts"]>;

function buildReader(peers: readonly PeerView[]): FleetReader {
  // A reason in words may quote what a stranger has sent: it is for the fleet's document and the log, never for a label.
  const refusals = { 'vm2 sent Unexpected token "evil" is not valid JSON': 3 };
  return { notes: [], realm: "prod", refusals, words: {}, stats: STATS, view: () => [...peers] };
}

describe("the metrics of the gossip", () => {
  test("who is reached, what went over links, what was refused by kind, rings", async () => {
    const db = { ready: false, state: "waiting", waiting: ["vm1/web"] };
    const words = { v: 1 as const, realm: "prod", node: "vm2", boot: 1, seq: 1, services: { db } };
    const away = { state: "dead", stale: "vm3 is dead", silenceMs: 90_000 } as const;
    const lines = await scrape({
      fleet: buildReader([
        buildPeer("vm2", { words }),
        buildPeer("vm3", away),
        buildPeer("vm4", { state: "unknown", stale: "vm4 was not reached yet", silenceMs: Infinity }),
      ]),
    });
    expect(lines).toEqual(
      expect.arrayContaining([
        'orca_gossip_peers{node="vm1",state="alive"} 1',
        'orca_gossip_peers{node="vm1",state="dead"} 1',
        'orca_gossip_peers{node="vm1",state="unknown"} 1',
        'orca_gossip_peers{node="vm1",state="suspect"} 0',
        'orca_gossip_peers_stale{node="vm1"} 2',
        'orca_gossip_peer_heard_seconds{node="vm1",peer="vm2"} 0.4',
        'orca_gossip_peer_heard_seconds{node="vm1",peer="vm3"} 90',
        'orca_gossip_oldest_heard_seconds{node="vm1"} 90',
        'orca_gossip_links{node="vm1"} 1',
        'orca_gossip_frames_total{node="vm1",direction="received"} 31',
        'orca_gossip_bytes_total{node="vm1",direction="sent"} 3000',
        'orca_gossip_records_total{node="vm1",result="accepted"} 7',
        'orca_gossip_records_total{node="vm1",result="forged"} 0',
        'orca_gossip_refused_total{node="vm1",reason="unknown-key"} 12',
        'orca_gossip_digests_sent_total{node="vm1"} 2',
        'orca_gossip_hints_total{node="vm1",direction="received"} 1',
        'orca_gossip_strain_ratio{node="vm1"} 1',
        'orca_fleet_start_rings{node="vm1"} 1',
      ]),
    );
    const reasons = lines.flatMap((line) => /^orca_gossip_refused_total\{.*reason="([^"]*)"/.exec(line)?.[1] ?? []);
    expect(reasons).toEqual([...REFUSAL_KINDS]);
    expect(lines.join("\n")).not.toContain("evil");
  });

  test("each has its HELP, and none is there without gossip", async () => {
    const lines = await scrape({ fleet: buildReader([buildPeer("vm2")]) });
    const names = new Set(lines.flatMap((line) => /^(orca_(?:gossip|fleet)_\w+)\{/.exec(line)?.[1] ?? []));
    expect(names.size).toBe(14);
    for (const name of names) expect(lines.find((line) => line.startsWith(`# HELP ${name} `))).toMatch(/\.$/);
    await report?.dispose();
    const alone = await scrape({});
    expect(alone.filter((line) => /^orca_(gossip|fleet|cold)_\w+\{/.test(line))).toEqual([]);
  });

  test("hundreds of nodes make no more series than one, with the longest silence among them", async () => {
    const peers = Array.from({ length: 400 }, (_one, index) => buildPeer(`n${index}`, { silenceMs: index * 100 }));
    const lines = await scrape({ fleet: buildReader(peers) });
    expect(lines.filter((line) => line.startsWith("orca_gossip_peer_heard_seconds{"))).toEqual([]);
    expect(lines).toContain('orca_gossip_oldest_heard_seconds{node="vm1"} 39.9');
    expect(lines.filter((line) => /^orca_(gossip|fleet)_\w+\{/.test(line)).length).toBeLessThan(50);
  });

  test("the last cold start that is over, and not the one under way", async () => {
    const build = (healthyMs: number, endedMs: number | undefined) =>
      buildColdStartReport(
        new Map([["vm1", { run: "a", ageMs: 0, seen: {}, services: { web: { at: [0, 10, 20, healthyMs] } } }]]),
        { beganMs: NOW_MS, endedMs, missing: [] },
      );
    const lines = await scrape({ coldStarts: () => [build(9_000, undefined), build(4_000, NOW_MS)] });
    expect(lines).toContain('orca_cold_start_seconds{node="vm1"} 4');
    expect(lines).toContain('orca_cold_start_path_seconds{node="vm1"} 3.99');
  });
});
