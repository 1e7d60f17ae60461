// The fleet as one node sees it: as JSON, as text, and over the routes that serve it.

import { describe, expect, test } from "vitest";

import { buildFleet, type FleetReader } from "../../../agent/report/status/fleet-builder.ts";
import { printFleet } from "../../../agent/report/text/fleet-text.ts";
import type { Sink } from "../../../agent/report/report-options.ts";
import { beginState } from "../../../agent/report/status/report-state.ts";
import { buildStatus } from "../../../agent/report/status/status-builder.ts";
import { reduceStatus } from "../../../agent/report/status/status-reducer.ts";
import type { AgentEvent } from "../../../shared/state/event.ts";
import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { TestReport } from "../../builders/node/report.ts";
import { buildTurn, buildView, NOW_MS, STATS } from "../../builders/node/turns.ts";

function status(): StatusDocument {
  const turn = buildTurn({
    views: [
      buildView("web", { state: "waiting", reason: "waiting for vm2/db (it is starting)", waitingFor: ["vm2/db"] }),
    ],
  });
  const state = reduceStatus(beginState(NOW_MS), { kind: "turn", atMs: NOW_MS, turn });
  return buildStatus(state, {
    node: "vm1",
    version: "1",
    socket: undefined,
    nowMs: NOW_MS,
    notes: [],
  });
}

const words = { v: 1 as const, realm: "prod", boot: 1, seq: 1, revision: "b".repeat(40) };
const reader: FleetReader = {
  notes: [],
  realm: "prod",
  refusals: { "its key is not in fleet.toml": 12 },
  stats: STATS,
  words: {},
  view: () => [
    {
      node: "vm2",
      state: "alive",
      why: "alive by a link to it",
      forMs: 60_000,
      silenceMs: 300,
      stale: undefined,
      words: {
        ...words,
        node: "vm2",
        services: {
          db: { ready: false, state: "waiting", why: "waiting for vm1/web", waiting: ["vm1/web"], sinceMs: NOW_MS },
          cache: { ready: true, state: "healthy" },
        },
      },
    },
    {
      node: "vm3",
      state: "dead",
      why: "it is not heard; vm2 cannot reach it either",
      forMs: 120_000,
      silenceMs: 123_400,
      stale: "vm3 is dead: it is not heard; vm2 cannot reach it either",
      words: { ...words, node: "vm3", services: { mail: { ready: true, state: "healthy" } } },
    },
    {
      node: "vm4",
      state: "unknown",
      why: "not reached since this agent's start",
      forMs: 5_000,
      silenceMs: Infinity,
      stale: "vm4 was not reached yet",
      words: undefined,
    },
  ],
};

test("it is served on loopback and on the socket, as text, JSON and a page", async () => {
  const report = await new TestReport({ parts: { fleet: reader } }).start();
  report.turn({ views: [buildView("web")] });
  const text = await report.get("/fleet");
  expect(text.body).toMatch(/^4 nodes of prod, as vm1 sees them\n/);
  const json = await report.get({ path: "/fleet", headers: { accept: "application/json" } });
  expect(JSON.parse(json.body)).toMatchObject({
    schema: "orca.fleet/1",
    nodes: [{ node: "vm1" }, { node: "vm2" }, {}, {}],
  });
  expect(JSON.parse((await report.onSocket("/v1/fleet")).body)).toMatchObject({ schema: "orca.fleet/1" });
  expect((await report.get({ path: "/fleet", headers: { accept: "text/html" } })).headers["content-type"]).toMatch(
    /html/,
  );
  await report.dispose();
});

test("a node that has been away for long: whoever tells it elsewhere hears of it, and it is one line in the log", async () => {
  const heard: AgentEvent[] = [];
  const sink: Sink = { hear: (event) => heard.push(event), note: undefined, close: () => Promise.resolve() };
  const report = await new TestReport({ options: { sinks: [sink] } }).start();
  const event = { kind: "unreachable", node: "vm3", forMs: 61_000, why: "it is not heard" } as const;
  report.report.emit({ kind: "gossip", atMs: NOW_MS, event });
  expect(heard).toEqual([{ kind: "gossip", atMs: NOW_MS, event }]);
  expect(report.log.match(/a node has been away for long/g)).toHaveLength(1);
  await report.dispose();
});

describe("the fleet", () => {
  test("a lost node's services are unknown, never up and never down; its last word is kept beside that", () => {
    const fleet = buildFleet(reader, status());
    expect(fleet).toMatchObject({ schema: "orca.fleet/1", node: "vm1", realm: "prod", healthy: false });
    expect(fleet.nodes.map(({ node, reachability, unknown }) => [node, reachability, unknown])).toEqual([
      ["vm1", "self", null],
      ["vm2", "alive", null],
      ["vm3", "dead", "vm3 is dead: it is not heard; vm2 cannot reach it either"],
      ["vm4", "unknown", "vm4 was not reached yet"],
    ]);
    expect(fleet.nodes[2]?.services).toEqual([
      {
        name: "mail",
        state: "unknown",
        ready: false,
        why: "it was healthy when vm3 was last heard",
        since: null,
        revision: null,
        waitingFor: [],
        startSeconds: null,
      },
    ]);
    expect(fleet.nodes[2]).toMatchObject({ heardSecondsAgo: 123.4, forSeconds: 120 });
    expect(fleet.nodes[3]).toMatchObject({ heardSecondsAgo: null, services: [] });
  });

  test("starts that wait for each other across nodes are named as a ring", () => {
    expect(buildFleet(reader, status()).rings).toEqual([["vm1/web", "vm2/db"]]);
  });

  test("without gossip only this node is there, and why is said", () => {
    const fleet = buildFleet(undefined, status());
    expect(fleet.nodes.map(({ node }) => node)).toEqual(["vm1"]);
    expect(fleet.notes[0]).toMatch(/runs without peers .*without \[gossip\] in agent\.toml/);
  });

  test("as text: a line for each node, and each service that is not as it should be", () => {
    expect(printFleet(buildFleet(reader, status()), { width: 110 }).split("\n")).toEqual([
      "4 nodes of prod, as vm1 sees them",
      "",
      "NODE  REACHED  HEARD      REVISION      SERVICES   WHY",
      "vm1   self     -          aaaaaaaaaaaa  0/1",
      "vm2   alive    now        bbbbbbbbbbbb  1/2",
      "vm3   dead     2m 3s ago  bbbbbbbbbbbb  1 unknown  vm3 is dead: it is not heard; vm2 cannot reach it either",
      "vm4   unknown  never      -             unknown    vm4 was not reached yet",
      "",
      "SERVICE  STATE    WAITING FOR / REASON",
      "vm1/web  waiting  waiting for vm2/db (it is starting)",
      "vm2/db   waiting  waiting for vm1/web",
      "",
      "they wait for each other: vm1/web → vm2/db → vm1/web",
      "",
      "notes",
      "  refused 12 ×: its key is not in fleet.toml",
      "",
    ]);
  });
});
