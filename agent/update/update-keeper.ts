// The agent's side of its own update: compares what fleet.toml pins with what runs, asks the updater, says how things stand, and tells the
// peers what runs here. Made by daemon.ts; told of each turn. It puts nothing in use itself: the updater and the judge do, in units of
// their own.

import { existsSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";

import type { Clock } from "../host/os/clock.ts";
import type { AgentPin, AgentWord } from "../../shared/fleet/agent-version.ts";
import type { Emit, TurnSummary } from "../../shared/state/event.ts";
import { type Note, noteText } from "../../shared/state/note.ts";
import { readMessage } from "../../shared/text/read-message.ts";
import { chooseUpdate, type UpdateChoice } from "./core/choose-update.ts";
import { parseRecord } from "./core/update-record.ts";
import { readIfThere } from "./carry-out.ts";
import { readVersionLink, type UpdatePlaces } from "./places.ts";

/** What it is made from. */
export interface UpdateKeeperOptions {
  node: string;
  running: string;
  arch: string;
  places: UpdatePlaces;
  /** Where the updater's unit looks for a request. */
  requestPath: string;
  clock: Clock;
  /** True where agent.toml says where packages are. */
  hasSource: boolean;
  /** True where the policy in force pins a release key. */
  hasKey(): Promise<boolean>;
  /** What a node says of its agent, where that is its present word. */
  hear: (node: string) => AgentWord | undefined;
  emit: Emit;
}

const LOOK_MS = 10_000;

/** One node's. */
export class UpdateKeeper {
  readonly #options: UpdateKeeperOptions;
  #pin: AgentPin | undefined;
  #choice: UpdateChoice = { kind: "none" };
  #lookedMs = Number.NEGATIVE_INFINITY;
  #askedMs: number | undefined;
  #looking: Promise<void> | undefined;
  #closed = false;

  constructor(options: UpdateKeeperOptions) {
    this.#options = options;
  }

  /** Takes over what a turn has read. Never throws, never waits. */
  follow({ desired }: TurnSummary): void {
    // While nothing is known, nothing is known to be pinned either: what was stays.
    if (desired !== undefined) this.#pin = desired.agentPin;
    const { clock } = this.#options;
    if (this.#closed || this.#looking !== undefined || clock.monotonicMs() - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = clock.monotonicMs();
    this.#looking = this.#look().finally(() => (this.#looking = undefined));
  }

  /** What this node tells its peers of its agent. */
  get word(): AgentWord {
    const { running, places } = this.#options;
    return { version: running, confirmed: !existsSync(places.trial) };
  }

  /** What people should know. */
  get notes(): Note[] {
    const version = this.#pin?.version ?? "";
    const { running } = this.#options;
    switch (this.#choice.kind) {
      case "none":
        return [];
      case "trial":
        return [noteText(`agent: a new version is on trial; ${running} answers`)];
      case "go":
        return [noteText(`agent: ${running} runs, and ${version} is asked for`)];
      case "waits":
      case "stuck":
        return [
          {
            name: `agent ${version} ${this.#choice.kind}`,
            text: `agent: ${running} runs, fleet.toml wants ${version}: ${this.#choice.why} (orca help update)`,
          },
        ];
      default:
        return this.#choice satisfies never;
    }
  }

  /** Ends. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#looking;
  }

  /** Resolves once the look that a turn has begun is over. */
  async whenLooked(): Promise<void> {
    await this.#looking;
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { node, running, arch, places, clock, hasSource, hear } = this.#options;
    try {
      const pin = this.#pin;
      const isPinned = pin !== undefined && pin.version !== running;
      const before = this.#choice;
      this.#choice = chooseUpdate({
        node,
        nowMs: clock.nowMs(),
        pin,
        arch,
        running,
        current: readVersionLink(places.current),
        onTrial: existsSync(places.trial),
        outcomes: isPinned ? parseRecord(readIfThere(places.record)) : [],
        hasSource,
        hasKey: isPinned && (await this.#options.hasKey()),
        canary: pin === undefined ? undefined : hear(pin.canary),
        askedMs: this.#askedMs,
      });
      this.#tell(before);
      if (this.#choice.kind === "go") await this.#ask(this.#choice);
    } catch (error) {
      this.#choice = { kind: "waits", why: readMessage(error) };
    }
  }

  async #ask({ version, sha256 }: Extract<UpdateChoice, { kind: "go" }>): Promise<void> {
    const { requestPath, clock } = this.#options;
    this.#askedMs = clock.nowMs();
    await writeFile(`${requestPath}.new`, JSON.stringify({ version, sha256 }), { mode: 0o600 });
    await rename(`${requestPath}.new`, requestPath);
  }

  /** What is another thing than before is told. */
  #tell(before: UpdateChoice): void {
    const { clock, emit, running } = this.#options;
    const choice = this.#choice;
    if (
      before.kind === choice.kind &&
      (choice.kind !== "stuck" || (before.kind === "stuck" && before.why === choice.why))
    )
      return;
    emit({
      kind: "agent-update",
      atMs: clock.nowMs(),
      update: {
        running,
        wanted: this.#pin?.version,
        stage: choice.kind,
        why: choice.kind === "stuck" || choice.kind === "waits" ? choice.why : undefined,
      },
    });
  }
}
