// `orca plan`: what would change against what runs. With a directory it compares by itself; without one it asks the agent.

import { existsSync } from "node:fs";
import { resolve } from "node:path";

import { statePath } from "../../host/state-layout.ts";
import { buildDesired } from "../../desired/build/build.ts";
import { ParseCache } from "../../desired/repository/repository.ts";
import { openEngine } from "../../docker/engine.ts";
import { systemClock } from "../../host/os/clock.ts";
import { findLooseDirectory, findOtherNames, readBootId, readRealPath } from "../../host/files/host-facts.ts";
import { FileStore } from "../../host/files/file-store.ts";
import { openObstacleProbe, readLastingObstacles, readHostObstacles } from "../../host/os/host-obstacles.ts";
import { readStoredInForce, readStoredMemory } from "../../host/store/store.ts";
import { readPolicy, readStandIns } from "../../host/files/host-files.ts";
import { Observer } from "../../observed/observer.ts";
import { followGenerations } from "../../plan/rules/generations.ts";
import { listChanges } from "../../plan/compare/changes.ts";
import type { ChangeDocument } from "../../../shared/document/plan-preview.ts";
import { describeChange, isNotFollowed, measureNames } from "./change-text.ts";
import type { Reachable } from "../../plan/world.ts";
import { DirectorySource } from "../../sources/directory/directory-source.ts";
import { FRONT_IMAGE } from "../../../shared/state/front.ts";
import type { DesiredState } from "../../../shared/state/desired-state.ts";
import type { SecretFacts } from "../../../shared/secret/secret-facts.ts";
import { describeHolds } from "../../../shared/text/words/hold-words.ts";
import { describeUnread } from "../../../shared/text/words/source-words.ts";
import { describeSize } from "../../../shared/text/size.ts";
import { templates } from "../../../shared/text/template.ts";
import { chooseNode } from "../frame/choose-node.ts";
import { AgentClient } from "../frame/client.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";
import type { PlanFormat } from "./plan-output.ts";
import { choosePlaces } from "../agent/up-directories.ts";
import { listWaves } from "../agent/up-progress.ts";
import { printDocument, printText } from "../frame/terminal.ts";
import { cutControlCharacters } from "../../report/text/public-text.ts";

/** The options of `orca plan` as commander hands them over. */
export interface PlanOptions {
  node?: string;
  docker: string;
  policy?: string;
  standIn?: string;
  address?: string;
  ports: "as-written" | "shift";
  json?: boolean;
  state?: string;
  socket?: string;
  against?: string;
  format?: PlanFormat;
}

/** Runs `orca plan`; answers 0 for no change, 2 for changes, 1 for an error. */
export async function plan(directory: string | undefined, options: PlanOptions): Promise<number> {
  const { against } = options;
  if (against !== undefined) {
    const format = options.json === true ? "json" : (options.format ?? "text");
    return (await import("./plan-against.ts")).planAgainst(directory ?? ".", { ...options, against, format });
  }
  if (options.format !== undefined)
    throw new CommandError("--format belongs to --against; without it there are text and --json");
  if (directory === undefined) return (await import("./plan-agent.ts")).planAgent(options);
  const node = await chooseNode(directory, options.node);
  const state = options.state ?? (await new AgentClient(options).findStateDir(node));
  const { stateDir } = choosePlaces(node, state);
  const desired = await buildNodeState(resolve(directory), node, { ...options, stateDir });
  const changes = await compareWithEngine(desired, { docker: options.docker, stateDir });
  const count = changes.filter((change) => change.action !== "none").length;
  if (options.json === true) printDocument({ version: 2, node, revision: desired.revision, changes });
  else printChanges(desired, changes);
  if (changes.some(isNotFollowed)) return EXIT.failed;
  return count === 0 ? EXIT.ok : EXIT.changes;
}

async function buildNodeState(
  directory: string,
  node: string,
  options: PlanOptions & { stateDir: string },
): Promise<DesiredState> {
  const source = new DirectorySource({ directory, node, clock: systemClock });
  const reading = await source.read();
  if (reading.kind === "failed") throw new CommandError(describeUnread(reading.why));
  const standIns = await readStandIns(options.standIn);
  const { desired } = await buildDesired({
    snapshot: reading.snapshot,
    inForce: undefined,
    storedContents: new Map(),
    adopted: [],
    allowedRemovals: Number.POSITIVE_INFINITY,
    host: { realPath: readRealPath, findLoose: findLooseDirectory, findOtherNames },
    settings: {
      node,
      policy: await readPolicy(options.policy),
      standIns,
      address: options.address,
      ports: options.ports,
      budget: "enforce",
      hostNotes: [],
      assumeDataMounted: true,
      frontImage: FRONT_IMAGE,
      agentPorts: [],
      templates,
    },
    cache: new ParseCache(),
    secrets: {
      facts: readKnownFacts(options.stateDir),
      standings: new Map(),
      late: new Set(),
      notes: [],
    },
    nowMs: systemClock.nowMs(),
  });
  if (desired.held !== undefined) throw new CommandError(describeHolds(desired.held.holds));
  return desired;
}

/** A version that no container can have been made with. */
const UNKNOWN_VERSION = "unknown";

/** Versions of secrets as the node's agent has them, so that what has not changed is not called a change. */
function readKnownFacts(stateDir: string): SecretFacts {
  const services = Object.values(readStoredInForce(stateDir)?.services ?? {});
  const known = Object.assign({}, ...services.map((service) => service.secrets ?? {})) as Record<string, string>;
  return {
    provider: "file",
    look: (path) => ({ kind: "value", version: known[path] ?? UNKNOWN_VERSION, readMs: 0 }),
    holds: () => true,
    matches: () => undefined,
    listVariables: () => [],
    tryTemplate: () => ({ kind: "unknown" }),
  };
}

async function compareWithEngine(
  built: DesiredState,
  { docker, stateDir }: { docker: string; stateDir: string },
): Promise<ChangeDocument[]> {
  const engine = openEngine(docker);
  try {
    const { node } = built;
    const memory = readStoredMemory(stateDir);
    const desired = followGenerations(built, memory?.generations);
    const bootId = readBootId();
    const observe = async (): Promise<Reachable> => {
      const observer = new Observer({
        node,
        reader: engine.reader,
        clock: systemClock,
        bootId,
        isBusy: () => false,
        onChange: () => undefined,
      });
      const observed = await observer.observe(desired, false);
      if (observed.reachable) return observed;
      throw new CommandError(`the engine at ${docker} does not answer: ${observed.reason}`);
    };
    const probe = openObstacleProbe();
    const obstacles = await readLastingObstacles(async () =>
      readHostObstacles(desired, await observe(), probe, new Set()),
    );
    const observed = await observe();
    const { services = {} } = memory ?? {};
    const here = { engine: observed, files: await readDelivered(stateDir), services, obstacles };
    return listChanges({ kind: "observed", observed: here }, desired);
  } finally {
    engine.close();
  }
}

/** What the node's agent has delivered; undefined where there never was one, or its state may not be read. */
async function readDelivered(stateDir: string): Promise<ReadonlyMap<string, string> | undefined> {
  if (!existsSync(statePath(stateDir, "files"))) return undefined;
  const files = new FileStore(stateDir);
  await files.load();
  return files.hashes;
}

function printChanges(desired: DesiredState, changes: readonly ChangeDocument[]): void {
  const totalBytes = [...desired.services.values()]
    .filter((service) => service.running)
    .reduce((sum, service) => sum + service.caps.memoryBytes, 0);
  printText(`node ${desired.node} at ${desired.revision}: caps of ${describeSize(totalBytes)} in all`);
  const width = measureNames(changes);
  for (const change of changes) {
    if (change.action === "none" && change.effects.length === 0) continue;
    printText(cutControlCharacters(describeChange(change, width)));
  }
  const same = changes.filter((change) => change.action === "none").length;
  if (same > 0) printText(`  = ${same} ${same === 1 ? "service stays" : "services stay"} as they are`);
  const starting = new Set(changes.filter((change) => change.restarts).map((change) => change.service));
  for (const [index, wave] of listWaves(desired).entries()) {
    const names = wave.filter((name) => starting.has(name));
    if (names.length > 0) printText(`  starts in wave ${index + 1}: ${names.join(", ")}`);
  }
}
