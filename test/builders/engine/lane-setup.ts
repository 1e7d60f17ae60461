// Before and after the docker and fleet lanes: a temporary directory of the run's own, the marked secrets and the journal, and the
// search for the secrets when everything has ended. vitest calls it.

import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { CanaryLane } from "../../../scripts/lab/canary/canary-lane.ts";
import { expectCleanLane } from "../../../scripts/lab/canary/canary-sweep.ts";
import { Journal } from "../../../scripts/lab/canary/real-journal.ts";
import { docker } from "./docker-cli.ts";
import { hold } from "./free-port.ts";
import { readRun, RUN } from "../../../scripts/lab/engine/run-name.ts";

/** What a run that was killed may have left: how it is listed, by which label, and removed. */
const LEFT: readonly { list: string[]; remove: string[]; id?: string; label?: string }[] = [
  { list: ["ps", "-a"], remove: ["rm", "-f"] },
  { list: ["ps", "-a"], remove: ["rm", "-f"], label: "orca.job.node" },
  { list: ["network", "ls"], remove: ["network", "rm"] },
  { list: ["volume", "ls"], remove: ["volume", "rm"], id: "{{.Name}}" },
];

let lane: CanaryLane | undefined;
let journal: Journal | undefined;
let sinceMs = 0;
let directory: string | undefined;

export async function setup(): Promise<void> {
  sinceMs = Date.now();
  await hold(`run/${RUN}`);
  await clearDeadRuns();
  // A short name, since the path of a unix socket has 107 characters at most. Other users must get through it.
  directory = mkdtempSync(join(tmpdir(), "ot-"));
  chmodSync(directory, 0o711);
  process.env["TMPDIR"] = directory;
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
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  }
}

/** Removes what runs that were killed have left at the engine: nobody else would. */
async function clearDeadRuns(): Promise<void> {
  const dead = new Map<string, boolean>();
  for (const { list, remove, id = "{{.ID}}", label = "orca.node" } of LEFT) {
    const lines = await docker(...list, "--filter", `label=${label}`, "--format", `${id} {{.Label "${label}"}}`);
    for (const line of lines.split("\n").filter(Boolean)) {
      const [name = "", node = ""] = line.split(" ");
      const run = readRun(node);
      if (run === undefined) continue;
      if (!dead.has(run)) dead.set(run, run !== RUN && (await hold(`run/${run}`)));
      if (dead.get(run) === true) await docker(...remove, name).catch(() => undefined);
    }
  }
}
