// What the loop is told of other nodes: their services' health as their owners said it, as long as that is their present word.
// Made by daemon.ts over the shell.

import type { PeerCold, PeerPort } from "../peers.ts";
import type { PeerHealth, Plan, World } from "../plan/world.ts";
import type { ColdWord } from "../../shared/cold-start.ts";
import type { DesiredState } from "../../shared/desired-state.ts";
import type { PeerView } from "./core/gossip.ts";
import type { ServiceWord } from "./core/record.ts";
import type { GossipShell } from "./shell.ts";
import { describeWords } from "./words.ts";

type Known = Extract<PeerHealth, { kind: "known" }>;

/** What is needed of the shell. */
export type Shell = Pick<GossipShell, "follow" | "say" | "hint" | "look" | "view" | "close" | "onChange" | "onHint">;

/** What an owner says of a service that it does not mean to start again. */
const ENDED: ReadonlySet<string> = new Set(["stopped", "removing"]);
const STOPPED = { stopped: true } as const;

/** The loop's view of the gossip. */
export class LivePeers implements PeerPort {
  readonly #shell: Shell;
  #targets: readonly { node: string; service: string }[] = [];
  #desired: DesiredState | undefined;
  #answer = "";
  #view: readonly PeerView[] | undefined;
  #words: Readonly<Record<string, ServiceWord>> = {};
  #revision: string | undefined;

  constructor(shell: Shell) {
    this.#shell = shell;
  }

  read(desired: DesiredState): PeerHealth {
    this.#shell.follow(desired);
    if (desired !== this.#desired) {
      this.#desired = desired;
      this.#targets = selectTargets(desired);
    }
    const known = this.#look();
    this.#answer = this.#summarize(known);
    return known;
  }

  tell(world: World, planned: Plan, cold: ColdWord | undefined): void {
    this.#words = describeWords(world, planned, this.#words);
    const { revision, held } = world.desired;
    this.#shell.say(this.#words, revision, cold);
    // What is held here may be in force elsewhere: the hint says only that there is something to look at.
    const isNew = held === undefined && revision !== this.#revision;
    if (isNew && this.#revision !== undefined && !revision.startsWith("dir:")) this.#shell.hint(revision);
    this.#revision = revision;
  }

  coldWords(): PeerCold[] {
    return (this.#view ?? this.#shell.view()).map(({ node, state, why, words }) => ({
      ...{ node, version: `${words?.boot}.${words?.seq}`, word: words?.cold },
      why: state === "alive" ? undefined : why,
    }));
  }

  watch(onChange: () => void, onHint: () => void, onWords: () => void): void {
    this.#shell.onHint = onHint;
    this.#shell.onChange = () => {
      // Looked at once for all that is asked of it: in a large realm something changes often.
      this.#view = this.#shell.view();
      onWords();
      const isOther = this.#summarize(this.#look()) !== this.#answer;
      this.#view = undefined;
      if (isOther) onChange();
    };
  }

  close(): Promise<void> {
    return this.#shell.close();
  }

  #look(): Known {
    const services = this.#targets.map(
      ({ node, service }) => [`${node}/${service}`, this.#judge(node, service)] as const,
    );
    return { kind: "known", services: Object.fromEntries(services), waits: this.#listWaits() };
  }

  /** What of an answer may change a plan, and who has begun or ended a cold start; times in explanations count down and change none. */
  #summarize(known: Known): string {
    const cold = this.coldWords().flatMap(({ node, word }) =>
      word === undefined ? [] : [[node, word.run, word.done]],
    );
    return JSON.stringify([known, cold]).replaceAll(/\d+(ms|[smhd])/g, "#");
  }

  #judge(node: string, service: string): Known["services"][string] {
    const { words, stale } = this.#shell.look(node);
    const word = words?.services[service];
    if (stale !== undefined) return { healthy: false, message: stale };
    if (word === undefined)
      return { healthy: false, message: `${node} runs no such service yet`, ...(words === undefined ? {} : STOPPED) };
    const why = word.why === undefined ? "" : `: ${word.why}`;
    const message = word.ready ? "healthy" : `it is ${word.state}${why}`;
    const stopped = word.start === undefined && ENDED.has(word.state) ? STOPPED : {};
    return { healthy: word.ready, message, ...stopped, ...(word.start === undefined ? {} : { start: word.start }) };
  }

  /** Who waits for whom elsewhere, as far as that is the present word of its owner. */
  #listWaits(): Record<string, readonly string[]> {
    const waits = (this.#view ?? this.#shell.view()).flatMap(({ node, stale, words }) =>
      stale !== undefined
        ? []
        : Object.entries(words?.services ?? {}).flatMap(([service, { waiting }]) =>
            waiting === undefined ? [] : [[`${node}/${service}`, waiting] as const],
          ),
    );
    return Object.fromEntries(waits);
  }
}

/** The services of other nodes that are waited for, and those that have moved from there to here. */
function selectTargets({ node: own, services }: DesiredState): { node: string; service: string }[] {
  const moved = [...services.values()].flatMap(({ movedFrom }) =>
    movedFrom === undefined || movedFrom.node === own ? [] : [movedFrom],
  );
  const targets = [...services.values()].flatMap(({ requires, wants }) => [
    ...requires.map((entry) => entry.target),
    ...wants,
  ]);
  const waited = targets.flatMap((target) =>
    target.kind === "service" && target.node !== undefined && target.node !== own
      ? [{ node: target.node, service: target.service }]
      : [],
  );
  return [...waited, ...moved];
}
