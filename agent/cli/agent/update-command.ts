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
import { AgentClient, type ClientOptions, expectJson } from "../frame/client.ts";
import { printFault, printText } from "../frame/terminal.ts";
import { CommandError, EXIT } from "../frame/exit-codes.ts";

/** The options of `orca update`. */
export interface UpdateOptions extends ClientOptions {
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
export async function showUpdates(options: UpdateOptions): Promise<number> {
  const { retry = false, json = false, root = UPDATE_ROOT } = options;
  const places = listPlaces(root);
  if (!existsSync(places.versions))
    throw new CommandError(
      `${places.versions} is not there: this host's Orca was not installed by its package (orca help install)`,
    );
  const outcomes = parseRecord(readIfThere(places.record));
  if (retry) {
    const kept = outcomes.filter(({ result }) => result === "confirmed");
    const names = outcomes.filter((outcome) => !kept.includes(outcome)).map(({ version }) => version);
    if (names.length > 0) await recordRetry(options, names);
    writeDurably(HOST_DISK, places.record, printRecord(kept, undefined));
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

/** The agent has the audit log. Where none answers, as after a version that failed, the person is told that nobody wrote it down. */
async function recordRetry(options: ClientOptions, versions: readonly string[]): Promise<void> {
  try {
    expectJson(await new AgentClient(options).act("/v1/update/retry", { versions: versions.join(", ") }));
  } catch (error) {
    if (!(error instanceof CommandError && error.exitCode === EXIT.unreachable)) throw error;
    printFault(`${error.message}: this is not in the audit log`);
  }
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
