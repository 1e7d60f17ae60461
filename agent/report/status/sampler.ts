// Reads what nobody tells: the node's memory, load and disks, and what each running container uses, by the kernel's files.
// A reading every 15 s keeps the peaks; a reader of status gets one that is at most 2 s old. Starts no process.

import type { DockerReader } from "../../docker/reader.ts";
import { readCpuTime, readMemory } from "../../host/os/cgroup.ts";
import type { CancelTimer, Clock } from "../../host/os/clock.ts";
import { LoadMeter, readDisks, readMachineMemory, readUptimeSeconds } from "../../host/os/node-stats.ts";
import type { HostSample, Sampled } from "./report-state.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** What a sampler needs. */
export interface SamplerOptions {
  clock: Clock;
  stateDir: string;
  /** First processes of the containers that run. */
  listPids: () => number[];
  /** Where the data file system is mounted. */
  dataMount: () => string | undefined;
  /** Undefined while the agent is still starting. */
  reader: () => Pick<DockerReader, "info"> | undefined;
  onSample: (sample: Sampled) => void;
  /** Only for tests that play the host. */
  readHost?: (() => Promise<HostSample>) | undefined;
}

/** Nobody asked: only alerts on disks and memory look at it then. Thirty cgroups read every 15 s were a fifth of the idle CPU. */
const EVERY_MS = 60_000;
const FRESH_MS = 2_000;
/** From this load on it is asked who takes it. */
const BUSY_PERCENT = 60;
/** A reader waits no longer than this for a fresh reading; an older one is better than none. */
const PATIENCE_MS = 1_000;

/** Takes samples until it is closed. */
export class Sampler {
  readonly #options: SamplerOptions;
  readonly #load = new LoadMeter();
  #cpu: ReadonlyMap<number, number> | undefined;
  #engine: { version: string; rootDir: string } | undefined;
  #asking: Promise<{ version: string; rootDir: string }> | undefined;
  #sampledMs = Number.NEGATIVE_INFINITY;
  #sampling: Promise<void> | undefined;
  #cancel: CancelTimer | undefined;
  #closed = false;
  /** Why the node's figures are not known, in words. */
  trouble: string | undefined;

  constructor(options: SamplerOptions) {
    this.#options = options;
  }

  /** Begins to sample. */
  start(): void {
    // The first load is measured from here on.
    this.#load.read();
    this.#plan(0);
  }

  /** The engine went away: when it is back it may be another version. */
  forgetEngine(): void {
    this.#engine = undefined;
  }

  /** Sees to it that the newest sample is fresh, as far as that takes no time. */
  async refresh(): Promise<void> {
    const { clock } = this.#options;
    if (this.#closed || clock.monotonicMs() - this.#sampledMs < FRESH_MS) return;
    await this.#atMost(this.#sample());
  }

  /** Ends sampling. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#sampling;
  }

  #plan(delayMs: number): void {
    this.#cancel = this.#options.clock.after(delayMs, () => {
      void this.#sample().finally(() => {
        if (!this.#closed) this.#plan(EVERY_MS);
      });
    });
  }

  /** An engine that hangs must not hold up a sample; its answer counts whenever it comes. */
  async #askEngine(): Promise<void> {
    this.#asking ??= this.#options
      .reader()
      ?.info()
      .finally(() => {
        this.#asking = undefined;
      });
    this.#engine = await this.#asking?.catch(() => undefined);
  }

  async #atMost(work: Promise<void>): Promise<void> {
    let cancel: CancelTimer = () => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = this.#options.clock.after(PATIENCE_MS, resolve);
    });
    await Promise.race([work, late]);
    cancel();
  }

  #sample(): Promise<void> {
    this.#sampling ??= this.#take().finally(() => {
      this.#sampling = undefined;
    });
    return this.#sampling;
  }

  /** Never rejects: what cannot be read is said, and tried again with the next sample. */
  async #take(): Promise<void> {
    const { clock, listPids, onSample } = this.#options;
    try {
      const memory = readContainers(listPids());
      const host = await (this.#options.readHost?.() ?? this.#readHost());
      this.trouble = undefined;
      const cpu = this.#readCpu(host.cpuLoadPercent ?? 0);
      onSample({
        kind: "sampled",
        atMs: clock.nowMs(),
        host,
        engineVersion: this.#engine?.version,
        memory,
        ...(cpu === undefined ? {} : { cpu }),
      });
    } catch (error) {
      const reason = readMessage(error);
      this.trouble = `memory and disks of the node cannot be read: ${reason}`;
    }
    this.#sampledMs = clock.monotonicMs();
  }

  /** Who is busy is asked only while the node is: each answer is a file for each container. */
  #readCpu(loadPercent: number): ReadonlyMap<number, number> | undefined {
    if (loadPercent < BUSY_PERCENT) {
      this.#cpu = undefined;
      return undefined;
    }
    const before = this.#cpu;
    const now = new Map(this.#options.listPids().flatMap((pid) => [[pid, readCpuTime(pid) ?? 0] as const]));
    this.#cpu = now;
    return before && new Map([...now].map(([pid, us]) => [pid, Math.max(0, us - (before.get(pid) ?? us))]));
  }

  async #readHost(): Promise<HostSample> {
    const { stateDir, dataMount } = this.#options;
    if (this.#engine === undefined) await this.#atMost(this.#askEngine());
    const mount = dataMount();
    const root = this.#engine?.rootDir;
    const paths = ["/", stateDir, ...(root === undefined ? [] : [root]), ...(mount === undefined ? [] : [mount])];
    const [memory, disks] = await Promise.all([readMachineMemory(), readDisks(paths)]);
    const { cpus, loadPercent } = this.#load.read();
    return {
      memoryTotalBytes: memory.totalBytes,
      memoryAvailableBytes: memory.availableBytes,
      cpus,
      cpuLoadPercent: loadPercent,
      uptimeSeconds: readUptimeSeconds(),
      disks,
    };
  }
}

function readContainers(pids: readonly number[]): Sampled["memory"] {
  const memory = new Map<number, { workingSetBytes: number }>();
  for (const pid of pids) {
    const reading = readMemory(pid);
    if (reading !== undefined) memory.set(pid, reading);
  }
  return memory;
}
