// Reads everything of the baseline: the engine, the network, the system, the agent's unit, and what the agent says of its backups.

import { readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";

import { readEngineFacts } from "../../../docker/engine-facts.ts";
import type { BaselineFacts, DiskFact } from "../../../doctor/baseline/baseline-facts.ts";
import { readDisks } from "../../../host/os/node-stats.ts";
import type { AgentConfig } from "../../../../shared/config/agent-config.ts";
import type { SloDocument } from "../../../../shared/document/slo-document.ts";
import { fleetSchema } from "../../../../shared/fleet/fleet.ts";
import { parseManifest } from "../../../../shared/manifest/parse-manifest.ts";
import type { InForce } from "../../../../shared/state/in-force.ts";
import { describeDuration } from "../../../../shared/text/duration.ts";
import { parseToml } from "../../../../shared/text/parse-toml.ts";
import { AgentClient, expectJson } from "../../frame/client.ts";
import { readEngineFile } from "./read-engine-file.ts";
import { hasFail2ban, listSshKeyFiles, readFilter, readSshd } from "./read-network.ts";
import { readSystem } from "./read-system.ts";
import { readDirectories, readUnit } from "./read-unit.ts";

const AGENT_SOCKET = "/run/orca/agent.sock";

/** What it is read for. */
export interface BaselinePlace {
  config: AgentConfig;
  configPath: string;
  /** What is in force, where an agent has stored that. */
  services: InForce | undefined;
  sealedPath: string;
}

/** Reads it. Never throws. */
export async function readBaseline({
  config,
  configPath,
  services,
  sealedPath,
}: BaselinePlace): Promise<BaselineFacts> {
  const { docker, backups, state, node } = config;
  const { engine, containers } = await readEngineFacts(docker.socket, node);
  const root = engine.kind === "said" ? engine.value.rootDir : undefined;
  const disks = await readDisks(["/", ...(root === undefined ? [] : [root]), state.dir, backups.dir]);
  return {
    engine,
    containers,
    engineFile: readEngineFile(docker.socket),
    filter: await readFilter(),
    sshd: await readSshd(),
    sshKeyFiles: listSshKeyFiles(),
    fail2ban: hasFail2ban(),
    ...(await readSystem()),
    disks: disks.map(mapDisk),
    backupsApart: await liesApart(root, backups.dir),
    unit: await readUnit(),
    directories: readDirectories([
      { path: dirname(configPath), most: 0o755 },
      { path: configPath, most: 0o640 },
      { path: state.dir, most: 0o700 },
      { path: backups.dir, most: 0o700 },
    ]),
    brokenPoints: await readBrokenPoints(config),
    repositories: await listRepositories(services),
    secretAges: listSecretAges(sealedPath),
  };
}

function mapDisk({
  path,
  totalBytes,
  freeBytes,
  inodes,
  inodesFree,
}: Awaited<ReturnType<typeof readDisks>>[number]): DiskFact {
  const share = (part: number, whole: number): number => (whole <= 0 ? 1 : part / whole);
  return { path, freeShare: share(freeBytes, totalBytes), inodesFreeShare: share(inodesFree, inodes) };
}

/** Undefined where there is no such directory yet. */
async function liesApart(root: string | undefined, directory: string): Promise<boolean | undefined> {
  if (root === undefined) return undefined;
  try {
    return (await stat(root)).dev !== (await stat(directory)).dev;
  } catch {
    return undefined;
  }
}

/** By the host's own agent alone: another one that runs here promises other things. */
async function readBrokenPoints({ node }: AgentConfig): Promise<string[] | undefined> {
  try {
    const client = new AgentClient({ socket: AGENT_SOCKET });
    const document = expectJson<SloDocument>(await client.readTrusted("/v1/slo"));
    if (document.node !== node) return undefined;
    return document.rpo
      .filter(({ state }) => state === "broken")
      .map(({ service, store, repository, ageSeconds, promisedSeconds }) => {
        const promised = promisedSeconds === null ? "" : `, of ${describeDuration(promisedSeconds * 1_000)} promised`;
        return `${service}/${store} in ${repository}: the newest good backup is ${describeDuration(ageSeconds * 1_000)} old${promised}`;
      });
  } catch {
    return undefined;
  }
}

/** The repositories of fleet.toml that a service of this host names. */
async function listRepositories(inForce: InForce | undefined): Promise<BaselineFacts["repositories"]> {
  if (inForce?.fleet === undefined) return [];
  const fleet = await parseToml(fleetSchema, inForce.fleet, "fleet.toml");
  if (!fleet.ok) return [];
  const read = Object.entries(inForce.services).map(async ([name, { text }]) => {
    const parsed = await parseManifest(text, `${name}.toml`);
    return parsed.ok ? (parsed.value.backups ?? []).flatMap(({ repositories }) => repositories) : [];
  });
  const used = new Set((await Promise.all(read)).flat());
  return Object.entries(fleet.value.repositories).flatMap(([name, { recipients }]) =>
    used.has(name) ? [{ name, recipients: recipients.length }] : [],
  );
}

/** Of each secret the version that was confirmed last: it is the one in use. The file says that without its key. */
function listSecretAges(path: string): BaselineFacts["secretAges"] {
  try {
    const { entries } = JSON.parse(readFileSync(path, "utf8")) as {
      entries: { path: string; readMs: number; sinceMs?: number }[];
    };
    const newest = Map.groupBy(entries, (entry) => entry.path);
    return [...newest].flatMap(([name, versions]) => {
      const [last] = versions.toSorted((left, right) => right.readMs - left.readMs);
      return last?.sinceMs === undefined ? [] : [{ path: name, sinceMs: last.sinceMs }];
    });
  } catch {
    return [];
  }
}
