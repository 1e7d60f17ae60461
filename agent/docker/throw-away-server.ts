// A server of a job: without any network, capped, with what an entrypoint needs that hands its server to another user and no more; it
// runs until it is removed. Used by one-shot.ts for proofs and by restores.ts for the twin that fills a volume.

import { randomBytes } from "node:crypto";

import { callUnless } from "./call.ts";
import { JOB_LABEL, JOB_NAME_START, JOB_NODE_LABEL } from "./job-label.ts";
import { type DockerExec, EngineError } from "./reader.ts";

interface Removable {
  remove(options: object): Promise<unknown>;
}

interface ServerContainer extends Removable {
  id: string;
  start(): Promise<unknown>;
  inspect(): Promise<{ State: { OOMKilled?: boolean; Running?: boolean } }>;
}

/** What is put into a container before it is started. */
export interface Archived {
  directory: string;
  /** A tar. */
  archive: AsyncIterable<Uint8Array>;
}

/** One that runs. */
export interface ThrowAwayServer {
  run(argv: readonly string[], timeoutMs: number): Promise<{ exitCode: number; output: string }>;
  ranOutOfMemory(): Promise<boolean>;
  isRunning(): Promise<boolean>;
  remove(): Promise<void>;
}

const CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"];
const PIDS = 256;

/** A name and labels for a container of a job: `orca-job-verify-pg-db-1f2e3d4c`, so that people see whose it is. */
export function nameJob(job: string, node: string): { name: string; Labels: Record<string, string> } {
  const name = `${JOB_NAME_START}${job.replaceAll(/[^A-Za-z0-9_.-]+/g, "-")}-${randomBytes(4).toString("hex")}`;
  return { name, Labels: { [JOB_LABEL]: job, [JOB_NODE_LABEL]: node } };
}

/** What such a server may take and do, but for its mounts. */
export function buildServerLimits(memoryBytes: number): Record<string, unknown> {
  return {
    NetworkMode: "none",
    Memory: memoryBytes,
    MemorySwap: memoryBytes,
    PidsLimit: PIDS,
    CapDrop: ["ALL"],
    CapAdd: CAPABILITIES,
    SecurityOpt: ["no-new-privileges"],
    LogConfig: { Type: "none", Config: {} },
    RestartPolicy: { Name: "no" },
  };
}

/** Starts it; one that does not start is removed. */
export async function startServer(container: ServerContainer, exec: Pick<DockerExec, "run">): Promise<ThrowAwayServer> {
  try {
    await container.start();
  } catch (error) {
    await removeJob(container).catch(() => undefined);
    throw error;
  }
  return {
    run: (words, timeoutMs) => exec.run(container.id, words, timeoutMs),
    ranOutOfMemory: async () => (await container.inspect()).State.OOMKilled === true,
    isRunning: async () => (await container.inspect()).State.Running === true,
    remove: () => removeJob(container),
  };
}

/** Puts something into a container that is only made; one that cannot be filled is removed. */
export async function pourInto(
  container: Removable & { putArchive(archive: NodeJS.ReadableStream, options: { path: string }): Promise<unknown> },
  { directory, archive }: Archived,
): Promise<void> {
  try {
    const { pourArchive } = await import("./archive.ts");
    await pourArchive(archive, (stream) => container.putArchive(stream, { path: directory }));
  } catch (error) {
    await removeJob(container).catch(() => undefined);
    throw error;
  }
}

/** With the volumes that it was given without a name; one that is gone is fine. */
export async function removeJob(container: Removable): Promise<void> {
  try {
    await callUnless("remove job", [404], () => container.remove({ force: true, v: true }));
  } catch (error) {
    // Somebody else removes it at this moment.
    if (!(error instanceof EngineError) || error.fault !== "removing") throw error;
  }
}
