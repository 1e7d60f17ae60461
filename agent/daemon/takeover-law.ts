// What a running agent's settings take of takeovers: the recovery key that the policy pins, and which spares stand in whose place. Made
// by daemon.ts, which reads the settings anew when a takeover comes.

import { TakeoverFile } from "../gossip/takeover-file.ts";
import type { SignedTakeover, Tenure } from "../../shared/fleet/takeover.ts";
import type { AgentEvent } from "../../shared/state/event.ts";

/** What is asked of the gossip. */
interface TakeoverSource {
  readonly takeovers: readonly SignedTakeover[];
  readonly tenure: Tenure;
}

/** The takeovers that count on this host, before the gossip has begun and after. */
export class TakeoverLaw {
  readonly #kept: readonly SignedTakeover[];
  recoveryKey: string | undefined;
  fleet: TakeoverSource | undefined;
  onChange: () => void = () => undefined;

  constructor(stateDir: string) {
    this.#kept = new TakeoverFile(stateDir).read();
  }

  get takeovers(): readonly SignedTakeover[] {
    return this.fleet?.takeovers ?? this.#kept;
  }

  get isReplaced(): boolean {
    return this.fleet?.tenure.kind === "replaced";
  }

  /** A takeover came to count: settings are to be read anew. */
  hear(event: AgentEvent): void {
    // The gossip tells it before its roster is read through it; the settings wait for that.
    if (event.kind === "gossip" && event.event.kind === "takeover") setImmediate(() => this.onChange());
  }
}
