// BreakPilot on four engines in four namespaces, in trouble: stage holds production's door while everything comes back, a node
// that never comes and then does, a partition and a killed agent in the middle of a cold start, an engine that restarts, a
// reboot. The order is judged by the engines' own word; what runs is never touched. Times are scaled down, the edges are all there.

import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { encodeMessage } from "../../agent/gossip/core/message.ts";
import { signRecord } from "../../agent/gossip/core/record.ts";
import { createSigner, loadIdentity } from "../../agent/gossip/node-identity.ts";
import type { FleetDocument } from "../../shared/document/fleet-document.ts";
import { buildColdFleet, type ColdFleet, NO_MARKS } from "../../scripts/lab/cold/cold-fleet.ts";
import { findEarlyStarts, listStartCalls, readStarts } from "../builders/fleet/cold-order.ts";
import { FleetLab } from "../../scripts/lab/engine/fleet-lab.ts";
import { IMAGE } from "../../scripts/lab/engine/real-node.ts";
import { FORGER, type ForgerReport, type ForgerStart } from "../builders/fleet/stage-forger.ts";

const SCALE = Number(process.env["ORCA_TROUBLE_SCALE"] ?? "0.12");
/** A loaded machine takes longer for a whole cold start than 0.12 of the four minutes that the proxy waits. */
const PATIENCE = Math.max(SCALE, 0.25);
const PROD = ["vm-control", "vm-data", "vm-edge"];
const BOOT_MS = 120_000;

let prod: ColdFleet;
let stage: ColdFleet;
let lab: FleetLab;

beforeAll(async () => {
  [prod, stage] = [
    await buildColdFleet("breakpilot", "prod", SCALE, PATIENCE),
    await buildColdFleet("breakpilot", "stage", SCALE, PATIENCE),
  ];
  lab = new FleetLab({
    nodes: { ...prod.nodes, ...stage.nodes },
    images: [IMAGE],
    manifests: { ...prod.manifests, ...stage.manifests },
    unread: NO_MARKS,
  });
  await lab.create();
  lab.start();
  await lab.until(async () => (await isHealthy("vm-edge")) && (await isHealthy("stage")), BOOT_MS, "the first start");
});

afterAll(() => lab.destroy());

async function isHealthy(node: string): Promise<boolean> {
  return (await lab.read<FleetDocument>(node, "/v1/fleet"))?.healthy === true;
}

/** Every host of some loses power and has it again; what was asked of all engines is counted anew. */
async function losePower(nodes: readonly string[]): Promise<void> {
  await Promise.all(nodes.map((node) => lab.reboot(node)));
  for (const { proxy } of lab.hosts.values()) proxy.reset();
}

/** One start for each service, none too early, no crash, and nothing else was asked of any engine. */
async function expectOrder(cold: ColdFleet, nodes: readonly string[]): Promise<void> {
  const starts = listStartCalls(lab, nodes);
  expect(starts).toHaveLength(cold.plan.services.filter(({ node }) => nodes.includes(node)).length);
  expect(new Set(starts).size).toBe(starts.length);
  expect(findEarlyStarts(cold.plan, await readStarts(lab, Object.keys(cold.nodes)))).toEqual([]);
  for (const node of nodes) {
    for (const { name, restarts } of (await lab.read(node))?.services ?? [])
      expect([name, restarts]).toEqual([name, 0]);
    expect(lab.of(node).proxy.calls.filter(({ path }) => /\/(stop|kill|restart|remove)/.test(path))).toEqual([]);
  }
}

function expectUntouched(...nodes: string[]): void {
  for (const node of nodes) expect([node, lab.of(node).proxy.calls]).toEqual([node, []]);
}

const isWith =
  (place: string, ...states: string[]) =>
  async (): Promise<boolean> => {
    const [node = "", service = ""] = place.split("/");
    return states.includes((await lab.state(node, service)) ?? "");
  };

/** Starts the forger with stage's real key, and frames that production's nodes have really signed. */
async function startForger(): Promise<ChildProcess> {
  const caught = await Promise.all(
    PROD.map(async (node) => {
      const identity = await loadIdentity(lab.keyFile(node));
      if (identity === undefined) throw new Error(`${node} has no key`);
      const words = { v: 1 as const, realm: "prod", node, boot: 1, seq: 1, services: {} };
      return encodeMessage({ t: "record", record: signRecord(words, createSigner(identity)) }).toString("base64");
    }),
  );
  const targets = PROD.map((node) => ({ node, host: lab.of(node).address }));
  const start: ForgerStart = { keyFile: lab.keyFile("stage"), targets, caught };
  const command = [`--net=${lab.of("stage").engine.namespace}`, process.execPath, FORGER, JSON.stringify(start)];
  const forger = spawn("nsenter", command, { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => forger.stdout?.once("data", resolve));
  return forger;
}

async function endForger(forger: ChildProcess): Promise<ForgerReport> {
  let text = "";
  forger.stdout?.on("data", (piece: Buffer) => {
    text += piece.toString();
  });
  const ended = new Promise((resolve) => forger.once("close", resolve));
  forger.kill("SIGTERM");
  await ended;
  return JSON.parse(text) as ForgerReport;
}

test("all four lose power; stage's key tries everything while production comes back: nothing is let in, and it is counted", async () => {
  await losePower([...PROD, "stage"]);
  const forger = await startForger();
  lab.start();
  await lab.until(() => isHealthy("vm-edge"), BOOT_MS, "production's cold start");
  await lab.until(() => isHealthy("stage"), BOOT_MS, "stage's cold start");
  const report = await endForger(forger);
  await expectOrder(prod, PROD);
  await expectOrder(stage, ["stage"]);
  const last = [...(await readStarts(lab, PROD))].toSorted((left, right) => right[1] - left[1])[0]?.[0];
  expect(last).toBe("vm-edge/orca-proxy");
  // Not one byte was answered behind a handshake, in whatever way it was tried.
  expect(Object.keys(report).length).toBeGreaterThanOrEqual(14);
  for (const [way, { tries, answeredBytes }] of Object.entries(report)) {
    expect([way, answeredBytes]).toEqual([way, 0]);
    expect(tries).toBeGreaterThan(0);
  }
  for (const node of PROD) {
    const fleet = await lab.read<FleetDocument>(node, "/v1/fleet");
    expect(fleet?.nodes.map(({ node: name, unknown }) => [name, unknown])).toEqual(PROD.map((name) => [name, null]));
    const refused = Object.keys(fleet?.refused ?? {});
    for (const reason of [
      "stage belongs to another realm (stage)",
      "its key is not in fleet.toml",
      "it showed no Ed25519 key",
      "too many connections that show no key",
    ])
      expect([node, refused]).toEqual([node, expect.arrayContaining([reason])]);
    expect(refused.some((reason) => reason.startsWith("the handshake failed"))).toBe(true);
  }
  const other = await lab.read<FleetDocument>("stage", "/v1/fleet");
  expect(other?.nodes.map(({ node }) => node)).toEqual(["stage"]);
});

test("a node that never comes: the proxy opens late, loud and degraded, and every node says who is missing", async () => {
  await losePower(PROD);
  lab.start(["vm-edge", "vm-data"]);
  const expiresMs = 240_000 * PATIENCE;
  const tookMs = await lab.until(isWith("vm-edge/orca-proxy", "healthy"), expiresMs + 60_000, "the proxy");
  expect(tookMs).toBeGreaterThan(expiresMs);
  const proxy = (await lab.read("vm-edge"))?.services.find(({ name }) => name === "orca-proxy");
  expect(proxy?.notes.join()).toMatch(/started without vm-control\/customer-portal/);
  for (const node of ["vm-edge", "vm-data"]) {
    const fleet = await lab.read<FleetDocument>(node, "/v1/fleet");
    expect(fleet?.nodes.map(({ node: name, reachability }) => [name, reachability])).toEqual([
      ["vm-control", "unknown"],
      ["vm-data", node === "vm-data" ? "self" : "alive"],
      ["vm-edge", node === "vm-edge" ? "self" : "alive"],
    ]);
    expect(fleet?.healthy).toBe(false);
  }
  const absent = prod.plan.services.filter(({ node }) => node === "vm-control").map(({ name }) => name);
  expect(findEarlyStarts(prod.plan, await readStarts(lab, ["vm-edge", "vm-data"]), absent)).toEqual([]);
  expectUntouched("stage", "vm-control");
});

test("it comes late after all: its services start in order, and nothing that runs is touched", async () => {
  for (const { proxy } of lab.hosts.values()) proxy.reset();
  lab.start(["vm-control"]);
  await lab.until(() => isHealthy("vm-edge"), BOOT_MS, "the whole fleet");
  expect(listStartCalls(lab, ["vm-control"])).toHaveLength(
    prod.plan.services.filter(({ node }) => node === "vm-control").length,
  );
  expectUntouched("vm-edge", "vm-data", "stage");
});

test("a partition in the middle of a cold start: starts wait for the other side, and go on when it is mended", async () => {
  await losePower(PROD);
  lab.start(PROD);
  await lab.until(isWith("vm-edge/postgres-infisical", "healthy"), BOOT_MS, "the middle of the cold start");
  lab.cut("vm-edge");
  await sleep(10_000);
  // What requires vm-edge has not begun; what does not, has.
  const starts = await readStarts(lab, PROD);
  expect(starts.has("vm-data/postgres-app")).toBe(true);
  expect(
    [...starts.keys()].filter((name) => name === "vm-control/tenant-registry" || name === "vm-data/litellm"),
  ).toEqual([]);
  expect((await lab.read("vm-control"))?.services.find(({ name }) => name === "tenant-registry")?.reason).toMatch(
    /vm-edge\/keycloak-26/,
  );
  lab.cut("vm-edge", false);
  await lab.until(() => isHealthy("vm-edge"), BOOT_MS, "the end of the cold start");
  await expectOrder(prod, PROD);
  expectUntouched("stage");
});

test("an agent killed in the middle of a cold start: the others wait, nothing is started twice", async () => {
  await losePower(PROD);
  lab.start(PROD);
  await lab.until(isWith("vm-edge/infisical", "starting"), BOOT_MS, "the middle of the cold start");
  await lab.of("vm-edge").agent?.kill();
  await sleep(4_000);
  expect((await readStarts(lab, PROD)).has("vm-control/tenant-registry")).toBe(false);
  lab.start(["vm-edge"]);
  await lab.until(() => isHealthy("vm-edge"), BOOT_MS, "the end of the cold start");
  await expectOrder(prod, PROD);
  expectUntouched("stage");
});

test("an agent that is killed while all runs, and a node that is cut off: nothing is asked of any engine", async () => {
  for (const { proxy } of lab.hosts.values()) proxy.reset();
  lab.cut("vm-data");
  await lab.of("vm-control").agent?.kill();
  await sleep(9_000);
  lab.cut("vm-data", false);
  lab.start(["vm-control"]);
  await lab.until(() => isHealthy("vm-edge"), BOOT_MS, "the way back");
  expectUntouched(...PROD, "stage");
});

test("an engine that restarts on one node: its services come back in order, the others' are not touched", async () => {
  for (const { proxy } of lab.hosts.values()) proxy.reset();
  const { engine, proxy } = lab.of("vm-data");
  await engine.end("SIGTERM");
  proxy.reset();
  await engine.start();
  const healthy = async (): Promise<boolean> =>
    (await lab.read("vm-data"))?.services.every(({ state }) => state === "healthy") === true;
  await lab.until(healthy, BOOT_MS, "the way back");
  expect(listStartCalls(lab, ["vm-data"])).toHaveLength(
    prod.plan.services.filter(({ node }) => node === "vm-data").length,
  );
  const starts = await readStarts(lab, ["vm-data"]);
  const others = prod.plan.services.filter(({ node }) => node !== "vm-data").map(({ name }) => name);
  expect(findEarlyStarts(prod.plan, starts, others)).toEqual([]);
  expectUntouched("vm-edge", "vm-control", "stage");
});

test("a reboot of one node while the others run: its starts wait for those that run, and theirs are not touched", async () => {
  await losePower(["vm-control"]);
  lab.start(["vm-control"]);
  await lab.until(async () => (await isHealthy("vm-control")) && (await isHealthy("vm-edge")), BOOT_MS, "the reboot");
  expect(listStartCalls(lab, ["vm-control"])).toHaveLength(
    prod.plan.services.filter(({ node }) => node === "vm-control").length,
  );
  expectUntouched("vm-edge", "vm-data", "stage");
});
