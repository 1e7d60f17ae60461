// A node a second time, beside itself: each service like its own container, in a network that leads nowhere, with data from backups; each is
// started when those that it requires are healthy, and its health endpoint is probed. Runs in the child, and leaves nothing behind.

import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

import { findDataVolumes } from "../backup/restore/data-places.ts";
import { restoreData } from "../backup/restore/restore-data.ts";
import { writeProgress } from "../backup/restore/restore-record.ts";
import type { StackPart } from "../docker/drill-stack.ts";
import type { Engine } from "../docker/engine.ts";
import type { ContainerShape } from "../docker/restores.ts";
import { probeContainer } from "../health/probes.ts";
import { systemClock } from "../host/os/clock.ts";
import type { DrillPart } from "../../shared/drill/drill.ts";
import { describeDuration } from "../../shared/text/duration.ts";
import { readMessage } from "../../shared/text/read-message.ts";
import type { DrillRequest, StackService, StackStore } from "./drill-exchange.ts";

const LOOK_MS = 250;

/** What became of a service: true once it is healthy. */
type Up = Promise<boolean>;

/** One node, apart. */
export class NodeApart {
  readonly #request: Extract<DrillRequest, { kind: "full" }>;
  readonly #engine: Engine;
  readonly #beganMs = systemClock.monotonicMs();
  readonly #up = new Map<string, Up>();
  readonly #parts: DrillPart[] = [];
  /** In the order in which they were made. */
  readonly #made: string[] = [];
  /** The volumes here, by the names that the services have them by. */
  readonly #volumes = new Map<string, string>();

  constructor(request: Extract<DrillRequest, { kind: "full" }>, engine: Engine) {
    this.#request = request;
    this.#engine = engine;
  }

  /** Brings all of it up, and takes all of it away; answers what came up. */
  async drill(): Promise<DrillPart[]> {
    const { drillStack } = this.#engine;
    const network = await drillStack.openNetwork(this.#request.node);
    try {
      for (const service of this.#request.services) await this.#begin(service, network);
      await this.#tell("the services come up");
      await Promise.all(this.#up.values());
      return this.#parts;
    } finally {
      // Whoever shares a volume goes before the one that owns it.
      for (const id of this.#made.toReversed()) await drillStack.removePart(id).catch(() => undefined);
      await drillStack.removeNetwork(network).catch(() => undefined);
    }
  }

  /** Restores its data, one store after the other; it then comes up by itself. */
  async #begin(service: StackService, network: string): Promise<void> {
    const { name, promised } = service;
    const skip = (verdict: DrillPart["verdict"], detail: string): void => {
      this.#parts.push({ service: name, ...promised, verdict, detail });
      // Whoever requires it fails, or not, by itself.
      this.#up.set(name, Promise.resolve(verdict === "skipped"));
    };
    try {
      const shape = await this.#engine.restores.readShape(service.container);
      if (shape === undefined) return skip("unknown", "its container is gone");
      const places = service.stores.map((store) => findPlaces(shape, store));
      const part = await this.#make(service, network, places.flat());
      if (typeof part === "string") return skip("skipped", `${part}: there is none like it apart from the host`);
      let isWhole = true;
      for (const store of service.stores) isWhole = (await this.#restore(service, store, part)) && isWhole;
      if (!isWhole) return skip("bad", "it was not started: its data did not come back");
      this.#up.set(name, this.#comeUp(service, part, network));
    } catch (error) {
      skip("unknown", readMessage(error));
    }
  }

  async #make(service: StackService, network: string, filled: readonly string[]): Promise<StackPart | string> {
    const { node, ownDirectories } = this.#request;
    const part = await this.#engine.drillStack.makePart({
      service: service.name,
      node,
      like: service.container,
      network,
      aliases: service.aliases,
      filled,
      shared: this.#volumes,
      ownDirectories,
    });
    if (typeof part === "string") return part;
    this.#made.push(part.id);
    for (const { like, name } of part.volumes) this.#volumes.set(like, name);
    return part;
  }

  /** Into the new container's volumes, as a restore into place fills new ones; true once the data is there. */
  async #restore({ name }: StackService, store: StackStore, part: StackPart): Promise<boolean> {
    const { plan, record, repository, restore } = store;
    await this.#tell(`${name}/${plan.store} is restored`);
    const known = { service: name, store: plan.store, backup: record.name, repository };
    const beganMs = systemClock.monotonicMs();
    try {
      const shape = await this.#engine.restores.readShape(part.id);
      if (shape === undefined) throw new Error("its container is gone");
      const volumes = findDataVolumes({ shape, plan, record });
      if (typeof volumes === "string") {
        this.#parts.push({ ...known, verdict: "skipped", detail: volumes });
        return true;
      }
      // What the restore tells of itself is not what the drill tells.
      const progressPath = join(this.#request.spool, "restore-progress.json");
      const detail = await restoreData({ ...restore, container: part.id, volumes, progressPath }, this.#engine);
      const restoreMs = this.#since(beganMs);
      this.#parts.push({ ...known, verdict: "good", detail, restoreMs });
      return true;
    } catch (error) {
      this.#parts.push({ ...known, verdict: "bad", detail: readMessage(error) });
      return false;
    }
  }

  /** Never rejects. */
  async #comeUp(service: StackService, part: StackPart, network: string): Up {
    const { name, after, outside, promised } = service;
    const add = (rest: Pick<DrillPart, "verdict" | "detail" | "startMs" | "recoveryMs">): boolean => {
      this.#parts.push({ service: name, ...promised, ...rest });
      return rest.verdict === "good";
    };
    try {
      const missing: string[] = [];
      for (const other of after) if ((await this.#up.get(other)) !== true) missing.push(other);
      if (missing.length > 0)
        return add({ verdict: "bad", detail: `it was not started: it waits for ${missing.join(", ")}` });
      const beganMs = systemClock.monotonicMs();
      await this.#engine.drillStack.start(part.id);
      const fault = await this.#waitUntilHealthy(service, part.id, network);
      const [startMs, recoveryMs] = [this.#since(beganMs), this.#since(this.#beganMs)];
      if (fault === undefined) return add({ verdict: "good", detail: sayWithout(part, outside), startMs, recoveryMs });
      // What it lacks here it has on the node: nobody knows what is at fault.
      if (outside.length > 0)
        return add({
          verdict: "unknown",
          detail: `${fault}; it requires ${outside.join(", ")}, which a drill does not have`,
        });
      return add({ verdict: "bad", detail: fault });
    } catch (error) {
      return add({ verdict: "unknown", detail: readMessage(error) });
    }
  }

  /** Undefined once its health endpoint has answered well; else why it did not. */
  async #waitUntilHealthy(
    { health, withinMs }: StackService,
    container: string,
    network: string,
  ): Promise<string | undefined> {
    const { drillStack, exec } = this.#engine;
    const untilMs = systemClock.monotonicMs() + withinMs;
    let message = "";
    while (systemClock.monotonicMs() < untilMs) {
      const { isRunning, exitCode, outOfMemory, address } = await drillStack.look(container, network);
      if (outOfMemory) return "the kernel ended it for memory";
      if (!isRunning) return `its container ended with exit code ${exitCode}`;
      if (health === undefined) return undefined;
      const answer = await probeContainer({ container, address, check: health }, exec);
      if (answer.kind === "ok") return undefined;
      ({ message } = answer);
      await wait(LOOK_MS);
    }
    return `it was not healthy within ${describeDuration(withinMs)}: ${message}`;
  }

  #since(beganMs: number): number {
    return Math.round(systemClock.monotonicMs() - beganMs);
  }

  async #tell(doing: string): Promise<void> {
    await writeProgress(this.#request.progressPath, {
      doing,
      doneBytes: 0,
      totalBytes: 0,
      sinceMs: systemClock.nowMs(),
    });
  }
}

/** Where its data lies, in the container; none where it is not restored into place. A directory of the host is a volume in a drill. */
function findPlaces(shape: ContainerShape, { plan, record }: StackStore): string[] {
  const mounts = shape.mounts.map((mount) => ({ ...mount, kind: "volume" as const }));
  const found = findDataVolumes({ shape: { ...shape, mounts }, plan, record });
  return typeof found === "string" ? [] : found.map(({ target }) => target);
}

function sayWithout({ without }: StackPart, outside: readonly string[]): string {
  const lacking = [...without, ...outside];
  return lacking.length === 0 ? "" : `healthy without ${lacking.join(", ")}`;
}
