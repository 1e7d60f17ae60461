// Puts a version on trial: takes the agent's request, fetches, looks, unpacks, and hands over to the judge. Runs in a unit of its own,
// orca-update.service, so that the end of the agent is not its own. What it is killed in the middle of, it begins anew.

import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import * as z from "zod";

import { carryOut, type Hands, readIfThere } from "./carry-out.ts";
import { isVersionName, type Trial } from "./core/trial.ts";
import { findOutcome, parseRecord, type UpdateOutcome } from "./core/update-record.ts";
import { planTrial } from "./core/update-steps.ts";
import { fetchPackage, type PackageSource, UnreachableError } from "./fetch-package.ts";
import { type JudgeHost, lookAtAgent, THIS_HOST } from "./judge-run.ts";
import { readVersionLink } from "./places.ts";
import { unpackPackage } from "./unpack-package.ts";
import { readMessage } from "../../shared/text/read-message.ts";

const requestSchema = z.object({
  version: z.string().refine(isVersionName),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

/** What the agent asks for. */
type UpdateRequest = z.output<typeof requestSchema>;

/** What an updater is given. */
export interface UpdaterOptions extends Hands {
  /** The agent's request. */
  requestPath: string;
  /** The agent's socket. */
  socket: string;
  /** Undefined where agent.toml names none. */
  source: PackageSource | undefined;
  /** The policy's; undefined where it pins none. */
  releaseKey: string | undefined;
  arch: string;
  host?: JudgeHost;
  unitDirectory?: string;
  say: (line: string) => void;
}

/** Takes the request, if there is one. Answers what became of it: a code for scripts and tests. */
export async function runUpdater(
  options: UpdaterOptions,
): Promise<"none" | "judging" | "trial" | UpdateOutcome["result"]> {
  const { places, requestPath, say } = options;
  // One that was cut off before the judge began: that one goes on from the file.
  if (existsSync(places.trial)) {
    rmSync(requestPath, { force: true });
    await carryOut([{ kind: "start-judge" }], options);
    return "judging";
  }
  const request = takeRequest(requestPath);
  if (request === undefined) return "none";
  const failed = findOutcome(parseRecord(readIfThere(places.record)), request.sha256);
  if (failed?.result === "failed") {
    say(
      `${request.version} has failed here on ${new Date(failed.atMs).toISOString()}, and is not tried again: ${failed.reason}`,
    );
    return "failed";
  }
  try {
    await putOnTrial(request, options);
    say(`${request.version} is on trial`);
    return "trial";
  } catch (error) {
    const result = error instanceof UnreachableError ? "unreachable" : "refused";
    const reason = readMessage(error);
    say(`${request.version}: ${reason}`);
    await carryOut([{ kind: "record", outcome: { ...request, result, reason, atMs: Date.now() } }], options);
    return result;
  }
}

/** The request is gone before it is acted on: one that cannot be carried out is not begun again and again. */
function takeRequest(path: string): UpdateRequest | undefined {
  const taken = `${path}.taken`;
  try {
    renameSync(path, taken);
  } catch {
    return undefined;
  }
  try {
    return requestSchema.parse(JSON.parse(readIfThere(taken) ?? ""));
  } catch {
    return undefined;
  } finally {
    rmSync(taken, { force: true });
  }
}

async function putOnTrial(request: UpdateRequest, options: UpdaterOptions): Promise<void> {
  const { places, source, releaseKey, arch, socket, host = THIS_HOST } = options;
  const { version, sha256 } = request;
  if (source === undefined) throw new Error("agent.toml has no [update]");
  if (releaseKey === undefined) throw new Error("the policy pins no release_key");
  const from = readVersionLink(places.current);
  if (from === undefined) throw new Error(`${places.current} names no version: install the package once`);
  const work = join(places.versions, ".fetched");
  try {
    const file = await fetchPackage(source, { version, arch, sha256, releaseKey }, work);
    await unpackPackage(file, { ...options, version });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  clearOld(options, [version, from]);
  const trial: Trial = {
    from,
    to: version,
    sha256,
    phase: "trial",
    heard: (await lookAtAgent(socket))?.heardBy ?? [],
    boot: host.bootId(),
    sinceMs: host.uptimeMs(),
    // Until the judge has begun, nobody could write down that an end was wanted.
    clean: true,
    unclean: 0,
    reason: "",
  };
  await carryOut(planTrial(trial), options);
}

/** Versions that an updater has brought and that are in use no more: what dpkg has brought is dpkg's. */
function clearOld({ places }: UpdaterOptions, keep: readonly string[]): void {
  const kept = new Set([...keep, readVersionLink(places.current), readVersionLink(places.judge)]);
  for (const { version } of parseRecord(readIfThere(places.record)))
    if (isVersionName(version) && !kept.has(version))
      rmSync(join(places.versions, version), { recursive: true, force: true });
}
