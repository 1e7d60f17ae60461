// Reads how systemd runs the agent, and whose its directories are.

import { statSync } from "node:fs";

import type { DirectoryFact, Said, UnitFact } from "../../../doctor/baseline/baseline-facts.ts";
import { askProgram } from "../../../host/os/ask-program.ts";
import type { Ask } from "./read-network.ts";

const UNIT = "orca-agent.service";
const PROPERTIES = [
  "LoadState",
  "Type",
  "WatchdogUSec",
  "Restart",
  "StartLimitIntervalUSec",
  "MemoryMax",
  "OOMScoreAdjust",
  "LimitCORE",
  "KillMode",
];
/** systemctl's words where systemd does not run, as in a container. */
const NO_SYSTEMD = /not been booted with systemd|Failed to connect to bus|Host is down/;

/** Reads the unit. */
export async function readUnit(ask: Ask = askProgram): Promise<UnitFact> {
  const shown = await ask("systemctl", ["show", UNIT, `--property=${PROPERTIES.join(",")}`]);
  const none: UnitFact = { properties: { kind: "absent" }, exposure: { kind: "absent" }, deadMan: { kind: "absent" } };
  if (shown.kind === "unseen") return NO_SYSTEMD.test(shown.trouble) ? none : { ...none, properties: shown };
  if (shown.kind === "absent") return none;
  const properties = parseProperties(shown.value);
  if (properties["LoadState"] === "not-found") return none;
  return {
    properties: { kind: "said", value: properties },
    exposure: await readExposure(ask),
    deadMan: await readDeadMan(ask),
  };
}

function parseProperties(text: string): Record<string, string> {
  const pairs = text.split("\n").flatMap((line) => {
    const at = line.indexOf("=");
    return at === -1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const];
  });
  return Object.fromEntries(pairs);
}

async function readExposure(ask: Ask): Promise<Said<number>> {
  const said = await ask("systemd-analyze", ["security", "--no-pager", UNIT]);
  if (said.kind !== "said") return said;
  const level = /exposure level for \S+: (\d+(?:\.\d+)?)/i.exec(said.value)?.[1];
  return level === undefined ? { kind: "absent" } : { kind: "said", value: Number(level) };
}

/** 3: it is not active (systemctl(1)). */
async function readDeadMan(ask: Ask): Promise<Said<boolean>> {
  const said = await ask("systemctl", ["is-active", "orca-dead-man.timer"], { codes: [3, 4] });
  return said.kind === "said" ? { kind: "said", value: said.value.trim() === "active" } : said;
}

/** How directories and files lie there; what is not there is left out. */
export function readDirectories(wanted: readonly { path: string; most: number }[]): DirectoryFact[] {
  return wanted.flatMap(({ path, most }) => {
    try {
      const { mode, uid } = statSync(path);
      return [{ path, most, mode: mode & 0o7777, uid }];
    } catch {
      return [];
    }
  });
}
