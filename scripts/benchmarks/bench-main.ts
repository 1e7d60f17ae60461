// `scripts/bench`: measures the production bundle on an engine of its own and prints one table. Times are this machine's;
// what counts are the ratios within one run.

import { parseArgs } from "node:util";

import { initSwarm, measureApply } from "./apply.ts";
import { measureCalibration } from "./calibration.ts";
import { measureCold } from "./cold.ts";
import { measureFleet } from "./fleet-bench.ts";
import { measureCrash, measureDrift } from "./heal.ts";
import { measureIdle, measureNoop, measureStart } from "./idle.ts";
import { Lab } from "./lab.ts";
import { measureLint } from "./lint-bench.ts";
import { measureMerge } from "./merge.ts";
import { printTable, type Row } from "./table.ts";

const USAGE =
  "usage: scripts/bench [--rounds 5] [--only apply,noop,idle,crash,start,drift,lint,merge,fleet,cold,calibration] [--json]";
const values = readOptions();
const rounds = Number(values.rounds);

const lab = new Lab();
await lab.open();
const rows: Row[] = [];

const suites: Record<string, () => Promise<Row[]>> = {
  apply: async () => {
    const swarm = new Lab();
    await swarm.open();
    try {
      await initSwarm(swarm);
      return await measureApply(lab, swarm, rounds);
    } finally {
      await swarm.close();
    }
  },
  noop: () => measureNoop(lab),
  idle: () => measureIdle(lab, 60_000),
  crash: () => measureCrash(lab, rounds),
  start: () => measureStart(lab, rounds),
  drift: () => measureDrift(lab, rounds),
  lint: () => measureLint(rounds),
  merge: () => measureMerge(lab, rounds),
  fleet: () => measureFleet(),
  cold: () => measureCold(rounds),
  calibration: () => measureCalibration(),
};

try {
  for (const [name, measure] of Object.entries(suites)) {
    if (values.only !== undefined && !values.only.split(",").includes(name)) continue;
    console.error(`bench: ${name} …`);
    const measured = await measure();
    rows.push(...measured);
    console.error(printTable(measured));
  }
} finally {
  await lab.close();
}
console.log(values.json ? JSON.stringify(rows, undefined, 2) : printTable(rows));

/** A mistake in the options costs one line, and no run. */
function readOptions(): { rounds: string; only?: string | undefined; json: boolean } {
  try {
    const { values: given } = parseArgs({
      options: {
        rounds: { type: "string", default: "5" },
        only: { type: "string" },
        json: { type: "boolean", default: false },
      },
    });
    if (/^[1-9]\d*$/.test(given.rounds)) return given;
    throw new Error(`--rounds ${given.rounds} is no number of rounds`);
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    return process.exit(2);
  }
}
