// What a running agent's settings take of takeovers: the recovery key that the policy pins, and which spares stand in whose place. Made
// by daemon.ts, which reads the settings anew when a takeover comes.

import type { PlaceTerm } from "../backup/repository/repository-port.ts";
import { noteOwnTerm, readOwnTerm } from "../gossip/own-term.ts";
import { TakeoverFile } from "../gossip/takeover-file.ts";
import { systemClock } from "../host/os/clock.ts";
import type { SignedTakeover, Tenure } from "../../shared/fleet/takeover.ts";
import type { AgentEvent } from "../../shared/state/event.ts";
import { describeReason } from "../../shared/text/describe-reason.ts";

/** What is asked of the gossip. */
interface TakeoverSource {
  readonly takeovers: readonly SignedTakeover[];
  readonly tenure: Tenure;
}

/** The takeovers that count on this host, before the gossip has begun and after. */
export class TakeoverLaw {
  readonly #kept: readonly SignedTakeover[];
  readonly #stateDir: string;
  readonly #node: string;
  #term: PlaceTerm | undefined;
  recoveryKey: string | undefined;
  fleet: TakeoverSource | undefined;
  onChange: () => void = () => undefined;

  constructor({ stateDir, node }: { stateDir: string; node: string }) {
    this.#stateDir = stateDir;
    this.#node = node;
    this.#kept = new TakeoverFile(stateDir).read();
  }

  get takeovers(): readonly SignedTakeover[] {
    return this.fleet?.takeovers ?? this.#kept;
  }

  get isReplaced(): boolean {
    return this.fleet?.tenure.kind === "replaced";
  }

  /** Who stands in this node's place, for people; undefined while it has its place. */
  get replacedBy(): string | undefined {
    const tenure = this.fleet?.tenure;
    if (tenure?.kind !== "replaced") return undefined;
    return describeReason({ code: "replaced", spare: tenure.spare, term: tenure.term }, 0);
  }

  /** The term of this machine, where it is a spare in its node's place. */
  readTerm(): PlaceTerm | undefined {
    const number = this.takeovers.find(({ node }) => node === this.#node)?.term;
    if (number === undefined || this.isReplaced) return undefined;
    if (this.#term?.number === number) return this.#term;
    const known = readOwnTerm(this.#stateDir, number);
    const beganMs = known ?? systemClock.nowMs();
    this.#term = { number, beganMs };
    // Not written, the next agent counts from its own start, and reads this one's folders all the same.
    if (known === undefined) noteOwnTerm(this.#stateDir, number, beganMs).catch(() => undefined);
    return this.#term;
  }

  /** A takeover came to count: settings are to be read anew. */
  hear(event: AgentEvent): void {
    // The gossip tells it before its roster is read through it; the settings wait for that.
    if (event.kind === "gossip" && event.event.kind === "takeover") setImmediate(() => this.onChange());
  }
}
