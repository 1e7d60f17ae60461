// Removes the ephemeral volumes that nobody needs any more: those of releases that neither run nor are gone back to. Made by daemon.ts,
// told of each turn. Only where the host's policy allows ephemeral volumes, and never beside work of the agent. The engine itself refuses
// one that a container has, and docker/ephemeral-volumes.ts one that does not carry the label of an ephemeral volume of this node.

import type { DesiredService, DesiredState } from "../../shared/state/desired-state.ts";
import type { Emit, TurnSummary } from "../../shared/state/event.ts";
import type { ReleaseRecord } from "../../shared/state/memory.ts";
import type { EphemeralVolumes } from "../docker/ephemeral-volumes.ts";
import type { Clock } from "../host/os/clock.ts";

/** What it is made from. */
export interface EphemeralOptions {
  node: string;
  clock: Clock;
  volumes: EphemeralVolumes;
  /** True while the host's policy allows ephemeral volumes. */
  isAllowed: () => boolean;
  /** True while the agent pulls, starts or ends anything. */
  isBusy: () => boolean;
  /** The good releases of a service that are kept, newest first. */
  listReleases: (service: string, most: number) => readonly ReleaseRecord[];
  findRelease: (service: string, fingerprint: string) => DesiredService | undefined;
  emit: Emit;
}

/** The engine is asked for them so often at most. */
const LOOK_MS = 60_000;
/** The release that runs and the one before it, which a rollback goes to. */
const KEPT_RELEASES = 2;

/** Sweeps one node. */
export class EphemeralKeeper {
  readonly #options: EphemeralOptions;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #looking = false;

  constructor(options: EphemeralOptions) {
    this.#options = options;
  }

  /** Takes over what a turn has found. Never throws, never waits. */
  follow(turn: TurnSummary): void {
    const { clock, isAllowed, isBusy } = this.#options;
    if (turn.desired === undefined || !turn.observed.engine.reachable || this.#looking || isBusy() || !isAllowed())
      return;
    if (clock.monotonicMs() - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = clock.monotonicMs();
    this.#looking = true;
    // An engine that does not answer is asked again a minute later; what it refuses stays.
    void this.#sweep(turn.desired, turn)
      .catch(() => undefined)
      .finally(() => (this.#looking = false));
  }

  async #sweep(desired: DesiredState, turn: TurnSummary): Promise<void> {
    const { node, volumes, clock, isBusy, emit } = this.#options;
    const there = await volumes.list(node);
    if (there.length === 0) return;
    const needed = this.#listNeeded(
      desired,
      turn,
      there.map(({ service }) => service),
    );
    for (const { name, service } of there) {
      if (needed.has(name)) continue;
      // A start that has begun meanwhile may be about to mount one.
      if (isBusy()) return;
      if (await volumes.remove(name, node))
        emit({ kind: "volume-removed", atMs: clock.nowMs(), service, volume: name });
    }
  }

  #listNeeded(desired: DesiredState, turn: TurnSummary, owners: readonly string[]): ReadonlySet<string> {
    const { listReleases, findRelease } = this.#options;
    const wanted = [...desired.services.values(), ...(desired.held?.desired?.services.values() ?? [])];
    const known = new Set([...wanted.map(({ name }) => name), ...desired.objections.keys()]);
    const kept = owners
      .filter((name) => known.has(name))
      .flatMap((name) =>
        listReleases(name, KEPT_RELEASES).flatMap(({ fingerprint }) => findRelease(name, fingerprint) ?? []),
      );
    const specs = [...wanted, ...(turn.keeps ?? []), ...kept].map(({ spec }) => spec);
    return new Set(specs.flatMap(({ volumes = [] }) => volumes.flatMap(({ name }) => name ?? [])));
  }
}
