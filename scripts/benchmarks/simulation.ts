// What it takes of a core to simulate the gossip of a thousand nodes through a storm of changes.

import { readPercentile, simulateStorm } from "../lab/gossip/gossip-storm.ts";
import type { Extent } from "./extent.ts";
import type { Row } from "./table.ts";

const BAR_MS = 60_000;

/** Measures. */
export function measureSimulation({ isSmoke }: Extent): Row[] {
  const size = isSmoke ? { nodes: 70, changes: 2, stormMs: 8_000 } : { nodes: 1_000, changes: 30, stormMs: 120_000 };
  const outcome = simulateStorm({ ...size, loss: 0 });
  return [
    {
      question: `${size.nodes} simulated nodes, ${size.changes} changes of each in ${size.stormMs / 1_000} s`,
      orca: `${(outcome.cpuMs / 1_000).toFixed(1)} s CPU`,
      beside: `last change known to 99 % of those who wait for it in ${readPercentile(outcome, 0.99).toFixed(1)} ms`,
      bar: { text: "< 60 s CPU", met: outcome.cpuMs < BAR_MS },
    },
  ];
}
