// `scripts/bench`: measures the production bundle on an engine of its own and prints one table. Times are this machine's;
// what counts are the ratios within one run.

import { parseArgs } from "node:util";

import { initSwarm, measureApply } from "./apply.ts";
import { measureBackup } from "./backup-bench.ts";
import { measureCalibration } from "./calibration.ts";
import { measureCold } from "./cold.ts";
import type { Extent } from "./extent.ts";
import { measureFleet } from "./fleet-bench.ts";
import { measureCrash, measureDrift } from "./heal.ts";
import { measureIdle, measureNoop, measureStart } from "./idle.ts";
import { Lab } from "./lab.ts";
import { measureLint } from "./lint-bench.ts";
import { measureMerge } from "./merge.ts";
import { measureProof } from "./proof-bench.ts";
import { measureSimulation } from "./simulation.ts";
import { printTable, type Row } from "./table.ts";
import { measureWhole } from "./whole-idle.ts";
import { readMessage } from "../../shared/text/read-message.ts";

const SUITES: Record<string, (lab: Lab, extent: Extent) => Row[] | Promise<Row[]>> = {
  apply: measureApplies,
  noop: measureNoop,
  idle: measureIdle,
  whole: measureWhole,
  crash: measureCrash,
  start: measureStart,
  drift: measureDrift,
  lint: (_lab, extent) => measureLint(extent),
  merge: measureMerge,
  fleet: (_lab, extent) => measureFleet(extent),
  cold: (_lab, extent) => measureCold(extent),
  calibration: (_lab, extent) => measureCalibration(extent),
  simulation: (_lab, extent) => measureSimulation(extent),
  backup: async (own, extent) => [...measureBackup(extent), ...(await measureProof(own, extent))],
};
const USAGE = `usage: scripts/bench [--rounds 5] [--only ${Object.keys(SUITES).join(",")}] [--smoke] [--json]`;

const { extent, only, json } = readOptions();
const rows: Row[] = [];
const lab = new Lab();
try {
  await lab.open();
  for (const name of only) {
    console.error(`bench: ${name} …`);
    const measured = await measure(name);
    rows.push(...measured);
    console.error(printTable(measured));
  }
} finally {
  await lab.close();
}
console.log(json ? JSON.stringify(rows, undefined, 2) : printTable(rows));

/** One suite. A failure is a row of the table and the exit code, and keeps no other suite from being measured. */
async function measure(name: string): Promise<Row[]> {
  try {
    return (await SUITES[name]?.(lab, extent)) ?? [];
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
    // All of what a program printed stands above.
    const [message = ""] = readMessage(error).split("\n");
    return [{ question: name, orca: "FAILED", beside: message }];
  } finally {
    await lab.endChildren();
  }
}

/** Swarm changes an engine for good: it has one of its own. */
async function measureApplies(own: Lab, measured: Extent): Promise<Row[]> {
  const swarm = new Lab();
  try {
    await swarm.open();
    await initSwarm(swarm);
    return await measureApply(own, swarm, measured);
  } finally {
    await swarm.close();
  }
}

/** A mistake in the options costs one line, and no run. */
function readOptions(): { extent: Extent; only: readonly string[]; json: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: "string" },
        only: { type: "string" },
        smoke: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
      },
    });
    const { rounds = values.smoke ? "1" : "5", smoke: isSmoke, json: isJson } = values;
    if (!/^[1-9]\d*$/.test(rounds)) throw new Error(`--rounds ${rounds} is no number of rounds`);
    const chosen = values.only?.split(",") ?? Object.keys(SUITES);
    const unknown = chosen.find((name) => !Object.hasOwn(SUITES, name));
    if (unknown !== undefined) throw new Error(`--only ${unknown}: there is no such suite`);
    return { extent: { rounds: Number(rounds), isSmoke }, only: chosen, json: isJson };
  } catch (error) {
    console.error(`bench: ${readMessage(error)}\n${USAGE}`);
    return process.exit(2);
  }
}
