// Before and after the docker and fleet lanes: makes the marked secrets and the journal, and searches for the secrets when
// everything has ended. vitest calls it.

import { join } from "node:path";

import { CanaryLane } from "../../scripts/lab/canary/canary-lane.ts";
import { expectCleanLane } from "../../scripts/lab/canary/canary-sweep.ts";
import { Journal } from "../../scripts/lab/canary/real-journal.ts";

let lane: CanaryLane | undefined;
let journal: Journal | undefined;
let sinceMs = 0;

export async function setup(): Promise<void> {
  sinceMs = Date.now();
  lane = await CanaryLane.create();
  journal = await Journal.start(join(lane.directory, "journal"));
  lane.journal = journal.place;
}

export async function teardown(): Promise<void> {
  try {
    if (lane === undefined) return;
    const { looked } = await expectCleanLane(lane, sinceMs);
    const nodes = lane.entries.filter(({ kind }) => kind === "searched");
    const places = [looked, ...nodes.map((entry) => entry.looked ?? {})].map((counts) => Object.values(counts));
    const tookMs = nodes.reduce((total, entry) => total + (entry.tookMs ?? 0), 0);
    const sum = places.flat().reduce((total, count) => total + count, 0);
    console.log(
      `marked secrets: none left in ${sum} places after ${nodes.length} searches of agents (${tookMs} ms), ` +
        `${looked["journal"]} journal entries among them`,
    );
  } finally {
    await journal?.stop();
    lane?.remove();
  }
}
