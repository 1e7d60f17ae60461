// What the host's policy says now of releases that were kept and may run again: asked in each turn before one of them is chosen, and
// when a person wants to go back to one. The shell around desired/policy/release-policy.ts.

import { readRealPaths } from "../desired/build/host-paths.ts";
import { judgeRelease, type ReleaseFacts } from "../desired/policy/release-policy.ts";
import { readRealPath } from "../host/files/host-facts.ts";
import type { Store } from "../host/store/store.ts";
import type { DesiredService, DesiredState } from "../../shared/state/desired-state.ts";
import type { ReasonOf } from "../../shared/state/reason.ts";
import type { NodeMemory } from "../../shared/state/memory.ts";

type Refusal = ReasonOf<"policy-refuses">;

/** What it works with. */
interface JudgeParts {
  store: Pick<Store, "findRelease" | "findContent">;
  /** The host's law, and what is known of secrets, as they are now. */
  read(): Pick<ReleaseFacts, "settings" | "secrets">;
}

/** Judges kept releases. */
export class ReleaseJudge {
  readonly #parts: JudgeParts;
  /** The releases that this turn may choose, and why the policy refuses them. */
  #verdicts = new Map<string, Refusal | undefined>();

  constructor(parts: JudgeParts) {
    this.#parts = parts;
  }

  /** Looks at every release that a turn may choose in place of what Git wants. */
  async look({ services }: DesiredState, memory: NodeMemory): Promise<void> {
    const verdicts = new Map<string, Refusal | undefined>();
    for (const [name, { release }] of Object.entries(memory.services)) {
      for (const id of new Set([release.rolledBack?.to, release.lastGood?.fingerprint])) {
        if (id === undefined || services.get(name)?.fingerprint === id) continue;
        verdicts.set(nameKept(name, id), await this.ask(name, id));
      }
    }
    this.#verdicts = verdicts;
  }

  /** Why a release may not run on this host now; undefined where it may, or there is none. */
  async ask(service: string, fingerprint: string): Promise<Refusal | undefined> {
    const { store } = this.#parts;
    const release = store.findRelease(service, fingerprint);
    // A front is the host's own, and its ports are judged with the service that it belongs to.
    if (release === undefined || release.frontOf !== undefined) return undefined;
    const { settings, secrets } = this.#parts.read();
    const volumes = (release.spec.volumes ?? []).map(({ source, target }) => {
      return { name: undefined, source, target, read_only: false, ephemeral: false };
    });
    const realPaths = await readRealPaths(volumes, { realPath: readRealPath }, settings.policy.mounts.allowed_prefixes);
    return judgeRelease(release, { settings, secrets, realPaths, findContent: (hash) => store.findContent(hash) });
  }

  /** What the last look has found. */
  judge({ name, fingerprint }: Pick<DesiredService, "name" | "fingerprint">): Refusal | undefined {
    return this.#verdicts.get(nameKept(name, fingerprint));
  }
}

function nameKept(service: string, fingerprint: string): string {
  return `${service}\n${fingerprint}`;
}
