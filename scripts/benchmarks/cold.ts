// Cold starts of BreakPilot's production after every host lost power, on three engines in namespaces, with stand-ins that take
// realistic times: beside the longest chain of declared times and of the engines' own starts.

import { buildColdFleet } from "../lab/cold/cold-fleet.ts";
import { type ColdStartOutcome, measureColdStart, openColdLab } from "../lab/cold/cold-measure.ts";
import type { Extent } from "./extent.ts";
import { median } from "./lab.ts";
import type { Row } from "./table.ts";

/** 1 for realistic times: a longest chain of 72 s. */
const SCALE = Number(process.env["ORCA_COLD_SCALE"] ?? "1");
const SMOKE_SCALE = 0.1;
const BAR = 1.1;
const LAST = "vm-edge/orca-proxy";

/** Measures some cold starts of one lab. */
export async function measureCold({ rounds, isSmoke }: Extent): Promise<Row[]> {
  const cold = await buildColdFleet("breakpilot", "prod", isSmoke ? SMOKE_SCALE : SCALE);
  const lab = await openColdLab(cold);
  const outcomes: ColdStartOutcome[] = [];
  try {
    for (let round = 0; round < rounds; round += 1) outcomes.push(await measureColdStart(lab, cold));
  } finally {
    await lab.destroy();
  }
  const count = cold.plan.services.length;
  const whole = outcomes.map(({ totalMs, floorMs }) => totalMs / floorMs);
  const ordered = outcomes.map(({ totalMs, firstMs, floorMs }) => (totalMs - firstMs) / floorMs);
  const sound = outcomes.filter(({ restarts, notes, starts, order }) => {
    return restarts === 0 && notes.length === 0 && starts === count && order.at(-1) === LAST;
  });
  const floors = outcomes.map(({ floorMs }) => floorMs);
  const row = (question: string, ratios: readonly number[], totals: readonly number[]): Row => ({
    question: `cold start of ${count} services on 3 nodes, ${question}`,
    orca: `${seconds(median(totals))} (ratios ${ratios.map((ratio) => ratio.toFixed(3)).join(", ")})`,
    beside: `longest chain ${seconds(cold.plan.criticalMs)} declared, with the engines' own starts ${seconds(median(floors))}`,
    ratio: median(ratios),
    bar: { text: `≤ ${BAR}`, met: median(ratios) <= BAR },
  });
  return [
    row(
      "from the first start that is asked for",
      ordered,
      outcomes.map(({ totalMs, firstMs }) => totalMs - firstMs),
    ),
    row(
      "with the agents' own start",
      whole,
      outcomes.map(({ totalMs }) => totalMs),
    ),
    {
      question: "of them without a restart, each service started once, the proxy last",
      orca: `${sound.length} of ${outcomes.length}`,
      beside: "",
      bar: { text: "all", met: sound.length === outcomes.length },
    },
  ];
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
