// An agent of today on the state directory and the containers of the version before it, which was killed in its work: everything
// is taken over as it is. No container is started, stopped or made anew; what was going on goes on.

import { afterAll, beforeAll, expect, test } from "vitest";

import type { StatusDocument } from "../../../shared/document/status-document.ts";
import { findPort, holdAlone } from "../../builders/engine/free-port.ts";
import { expectNoSecretLeft } from "../../../scripts/lab/canary/canary-sweep.ts";
import { KeptState } from "../../builders/engine/kept-state.ts";
import { OrcaProcess } from "../../../scripts/lab/engine/orca-process.ts";

const kept = new KeptState();
let listen = "";
let agent: OrcaProcess | undefined;

beforeAll(async () => {
  listen = `127.0.0.1:${await findPort()}`;
  // Its containers bear the names that they had when it was kept.
  await holdAlone("kept-state");
  await kept.put(listen);
});

afterAll(async () => {
  await agent?.stop();
  const unread = "its secrets are those of the version before";
  await expectNoSecretLeft({ node: "kept", stateDir: kept.stateDir, unread }, () => kept.remove());
});

async function readStatus(): Promise<StatusDocument> {
  const answer = await fetch(`http://${listen}/`, { headers: { accept: "application/json" } });
  return (await answer.json()) as StatusDocument;
}

/** One whole resync and more: whatever an agent would do of itself, it has done by then. */
const RESYNC_MS = 33_000;
const KNOWN = new Set(["healthy", "completed", "rolled-back"]);

/** Starts an agent, waits until it knows everything, and for a resync after that. */
async function run(longEnoughMs: number): Promise<Record<string, string>> {
  agent = new OrcaProcess(["agent", "--config", kept.config], { runDir: kept.runDir });
  const isKnown = async (): Promise<boolean> => {
    const { services } = await readStatus();
    return services.length === 7 && services.every(({ state }) => KNOWN.has(state));
  };
  await expect.poll(() => isKnown().catch(() => false), { timeout: 240_000 }).toBe(true);
  const sinceMs = performance.now();
  await expect.poll(() => performance.now() - sinceMs, { timeout: 240_000 }).toBeGreaterThan(longEnoughMs);
  // The first question to a server that is away is asked when its turn comes, which may be later than that.
  const readNotes = async (): Promise<string> => (await readStatus()).notes.join("\n");
  await expect.poll(readNotes, { timeout: 120_000 }).toMatch(/127\.0\.0\.1:28499.*cannot be asked/);
  const { services } = await readStatus();
  return Object.fromEntries(
    services.map(({ name, state, settled }) => [name, settled ? state : `${state}, not settled`]),
  );
}

const STATES = {
  back: "rolled-back, not settled",
  half: "healthy, not settled",
  keyed: "healthy",
  migrate: "completed",
  plain: "healthy",
  web: "healthy",
  "web.front": "healthy",
};

test("the state of the version before is taken over with no container touched, and again at the next start", async () => {
  const containers = await kept.list();
  expect(Object.keys(containers)).toHaveLength(8);
  expect(await run(RESYNC_MS)).toEqual(STATES);
  expect(await kept.list()).toEqual(containers);
  await agent?.kill();
  expect(await run(3_000)).toEqual(STATES);
  expect(await kept.list()).toEqual(containers);
});
