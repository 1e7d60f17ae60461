// Since when too much of the node's memory and processors is in use, from one reading to the next. Pure; used by the reducer.

import type { Pressure, ReportState, Sampled } from "./report-state.ts";

/** From this share on, in per cent. */
const FULL = { memory: 80, cpu: 70 };

/** What is known after one more reading; one that could not be made says nothing. */
export function followPressure(state: ReportState, { host, atMs, cpu }: Sampled): ReportState["pressure"] {
  if (host === undefined) return state.pressure;
  const { memoryTotalBytes: total, memoryAvailableBytes: available, cpuLoadPercent: load } = host;
  const used = total <= 0 ? 0 : (1 - available / total) * 100;
  const memory = judge(state.pressure.memory, { used, full: FULL.memory, atMs });
  const busy =
    load === undefined ? state.pressure.cpu : judge(state.pressure.cpu, { used: load, full: FULL.cpu, atMs });
  const largest = findLargest(state, cpu) ?? state.pressure.cpu?.largest;
  return {
    ...(memory === undefined ? {} : { memory }),
    ...(busy === undefined ? {} : { cpu: largest === undefined ? busy : { ...busy, largest } }),
  };
}

function judge(
  before: Pressure | undefined,
  { used, full, atMs }: { used: number; full: number; atMs: number },
): Pressure | undefined {
  return used < full ? undefined : { sinceMs: before?.sinceMs ?? atMs, used: Math.floor(used) };
}

function findLargest({ services }: ReportState, cpu: Sampled["cpu"]): string | undefined {
  if (cpu === undefined) return undefined;
  const spent = [...services.values()].map(({ view, pid }) => ({ name: view.name, us: cpu.get(pid) ?? 0 }));
  const [largest] = spent.toSorted((left, right) => right.us - left.us);
  return largest === undefined || largest.us === 0 ? undefined : largest.name;
}
