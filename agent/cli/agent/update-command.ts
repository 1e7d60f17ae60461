// `orca update`: how this host's own versions stand; and the two programs behind orca-update.service and orca-judge.service, which put a
// version in use and judge it.

import { existsSync, readdirSync, rmSync } from "node:fs";

import { readIfThere } from "../../update/carry-out.ts";
import { parseTrial } from "../../update/core/trial.ts";
import { parseRecord, printRecord } from "../../update/core/update-record.ts";
import { HOST_DISK, writeDurably } from "../../update/durable.ts";
import type { PackageSource } from "../../update/fetch-package.ts";
import { type JudgeHost, runJudge, THIS_HOST } from "../../update/judge-run.ts";
import { findDebianArch } from "../../update/debian-arch.ts";
import { listPlaces, readVersionLink, UPDATE_ROOT } from "../../update/places.ts";
import { runUpdater } from "../../update/updater.ts";
import { readHostFile, readPolicy } from "../../host/files/host-files.ts";
import { runPath } from "../../host/state-layout.ts";
import { type AgentConfig, agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { printText } from "../frame/terminal.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";

/** The options of `orca update`. */
export interface UpdateOptions {
  retry?: boolean;
  json?: boolean;
  root?: string;
}

/** The options of the two programs; all but `config` are for tests. */
export interface UpdateRunOptions {
  config: string;
  root: string;
  run: string;
  pace: string;
  units?: string;
}

/** Prints how things stand; with `retry`, what has failed or was refused may be tried again. */
export async function showUpdates({ retry = false, json = false, root = UPDATE_ROOT }: UpdateOptions): Promise<number> {
  const places = listPlaces(root);
  if (!existsSync(places.versions))
    throw new CommandError(
      `${places.versions} is not there: this host's Orca was not installed by its package (orca help install)`,
    );
  const outcomes = parseRecord(readIfThere(places.record));
  if (retry) {
    const kept = outcomes.filter(({ result }) => result === "confirmed");
    writeDurably(HOST_DISK, places.record, printRecord(kept, undefined));
    const names = outcomes.filter((outcome) => !kept.includes(outcome)).map(({ version }) => version);
    printText(names.length === 0 ? "nothing has failed here" : `may be tried again: ${names.join(", ")}`);
    return EXIT.ok;
  }
  const trial = parseTrial(readIfThere(places.trial) ?? "");
  const versions = readdirSync(places.versions).filter((name) => !name.startsWith("."));
  const current = readVersionLink(places.current);
  if (json) {
    printText(
      JSON.stringify({ version: 1, current: current ?? null, versions, trial: trial ?? null, outcomes }, undefined, 2),
    );
    return EXIT.ok;
  }
  printText(`in use: ${current ?? "nothing"}`);
  printText(`here: ${versions.join(", ")}`);
  if (trial !== undefined)
    printText(
      `on trial: ${trial.to}, since ${trial.from} was in use${trial.phase === "back" ? `; goes back: ${trial.reason}` : ""}`,
    );
  for (const { version, result, reason, atMs } of outcomes)
    printText(`${new Date(atMs).toISOString()} ${version} ${result}: ${reason}`);
  return EXIT.ok;
}

/** Runs the updater of orca-update.service. */
export async function updateRun(options: UpdateRunOptions): Promise<number> {
  try {
    return await putInUse(options);
  } catch (error) {
    // Without this host's files nothing can be judged: the agent asks again in a quarter of an hour, and says what is wrong with them.
    rmSync(runPath(options.run, "updateRequest"), { force: true });
    throw error;
  }
}

async function putInUse({ config: path, root, run, units, pace }: UpdateRunOptions): Promise<number> {
  const config = await readHostFile(agentConfigSchema, path, "config");
  const policy = await readPolicy(existsSync(config.policy.file) ? config.policy.file : undefined);
  await runUpdater({
    places: listPlaces(root),
    requestPath: runPath(run, "updateRequest"),
    socket: runPath(run, "socket"),
    source: chooseSource(config),
    releaseKey: policy.pinned.release_key,
    arch: findDebianArch(),
    host: paceHost(pace),
    ...(units === undefined ? {} : { unitDirectory: units }),
    say: printText,
  });
  return EXIT.ok;
}

/** Runs the judge of orca-judge.service. */
export async function updateJudge({ root, run, pace }: Omit<UpdateRunOptions, "config">): Promise<number> {
  const ending = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => ending.abort());
  await runJudge({
    places: listPlaces(root),
    socket: runPath(run, "socket"),
    say: printText,
    signal: ending.signal,
    host: paceHost(pace),
    everyMs: 2_000 / Number(pace),
  });
  return EXIT.ok;
}

/** This host; for tests its time passes faster. */
function paceHost(pace: string): JudgeHost {
  return { bootId: THIS_HOST.bootId, uptimeMs: () => THIS_HOST.uptimeMs() * Number(pace) };
}

function chooseSource({ update }: AgentConfig): PackageSource | undefined {
  if (update === undefined) return undefined;
  if (update.dir !== undefined) return { kind: "directory", path: update.dir };
  return { kind: "url", url: update.url ?? "", caFile: update.ca_file };
}
