// What the loop is told of other nodes: their services' health as their owners said it, as long as that is their present word.
// Made by open-gossip.ts over the shell. What comes in is looked at node by node: a record costs the same in a realm of any size.

import type { PeerCold, PeerPort } from "./peer-port.ts";
import type { PeerHealth, Plan, World } from "../plan/world.ts";
import type { Tenure } from "../../shared/fleet/takeover.ts";
import type { ColdStartStatement } from "../../shared/state/cold-start.ts";
import type { DesiredState } from "../../shared/state/desired-state.ts";
import type { PeerLook } from "./core/gossip.ts";

import type { MeshShell } from "./mesh/mesh-shell.ts";
import { describeStatements, type SaidStatement } from "./service-statements.ts";

type Known = Extract<PeerHealth, { kind: "known" }>;

/** What is needed of the shell. */
export type Shell = Pick<
  MeshShell,
  "follow" | "say" | "hint" | "look" | "view" | "tenure" | "close" | "onChange" | "onHint"
>;

/** What an owner says of a service that it does not mean to start again. */
const ENDED: ReadonlySet<string> = new Set(["stopped", "removing"]);
const STOPPED = { stopped: true } as const;

/** What is known of one node, in the loop's words. */
interface Note {
  /** Undefined where the node is not of this realm. */
  cold: PeerCold | undefined;
  /** Those of its services that are waited for here, by `node/service`. */
  services: readonly (readonly [key: string, health: Known["services"][string]])[];
  /** Who waits for whom there, as far as that is its present word. */
  waits: readonly (readonly [key: string, waiting: readonly string[]])[];
  /** What of it may change a plan, and whether it has begun or ended a cold start. Empty where there is nothing. */
  summary: string;
}

/** The loop's view of the gossip. */
export class LivePeers implements PeerPort {
  readonly #shell: Shell;
  #targets: ReadonlyMap<string, readonly string[]> = new Map();
  #desired: DesiredState | undefined;
  /** In the order of the view. */
  #notes = new Map<string, Note>();
  /** The summaries that the last answer was made from, and the nodes that have another one by now. */
  #answered: ReadonlyMap<string, string> = new Map();
  readonly #different = new Set<string>();
  /** The tenure that the last answer held. */
  #tenure: Tenure["kind"] = "held";
  #said: Readonly<Record<string, SaidStatement>> = {};
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
    this.#lookAtAll();
    const notes = [...this.#notes];
    this.#answered = new Map(notes.map(([node, { summary }]) => [node, summary]));
    this.#different.clear();
    const { tenure } = this.#shell;
    this.#tenure = tenure.kind;
    return {
      kind: "known",
      ...(tenure.kind === "held" ? {} : { tenure }),
      services: Object.fromEntries(notes.flatMap(([, { services }]) => services)),
      waits: Object.fromEntries(notes.flatMap(([, { waits }]) => waits)),
    };
  }

  tell(world: World, planned: Plan, cold: ColdStartStatement | undefined): void {
    this.#said = describeStatements(world, planned, this.#said);
    const { revision, held } = world.desired;
    const words = Object.fromEntries(Object.entries(this.#said).map(([name, { word }]) => [name, word]));
    this.#shell.say(words, revision, cold);
    // What is held here may be in force elsewhere: the hint says only that there is something to look at.
    const isNew = held === undefined && revision !== this.#revision;
    if (isNew && this.#revision !== undefined && !revision.startsWith("dir:")) this.#shell.hint(revision);
    this.#revision = revision;
  }

  coldStartStatements(): PeerCold[] {
    if (this.#desired === undefined) this.#lookAtAll();
    return [...this.#notes.values()].flatMap(({ cold }) => cold ?? []);
  }

  watch(onChange: () => void, onHint: () => void, onWords: (changed: readonly PeerCold[]) => void): void {
    this.#shell.onHint = onHint;
    this.#shell.onChange = (nodes) => {
      const changed = nodes.has(undefined) ? this.#lookAtAll() : [...nodes].flatMap((node) => this.#lookAt(node) ?? []);
      if (changed.length > 0) onWords(changed);
      if (this.#different.size > 0 || this.#shell.tenure.kind !== this.#tenure) onChange();
    };
  }

  close(): Promise<void> {
    return this.#shell.close();
  }

  /** Looks at everything anew: the realm, or what is wanted, is another one, or a turn wants to know. */
  #lookAtAll(): PeerCold[] {
    const before = this.#notes;
    this.#notes = new Map();
    const changed = this.#shell
      .view()
      .flatMap(({ node, ...look }) => this.#take(node, { look, before, isMember: true }));
    for (const node of this.#targets.keys())
      if (!this.#notes.has(node)) this.#take(node, { look: this.#shell.look(node), before, isMember: false });
    for (const node of before.keys()) if (!this.#notes.has(node)) this.#compare(node, "");
    return changed;
  }

  /** Looks at one node again; answers what it says of its cold start, where that is something else than before. */
  #lookAt(node: string | undefined): PeerCold[] {
    const before = node === undefined ? undefined : this.#notes.get(node);
    if (node === undefined || before === undefined) return [];
    const isMember = before.cold !== undefined;
    return this.#take(node, { look: this.#shell.look(node), before: this.#notes, isMember });
  }

  #take(
    node: string,
    { look, before, isMember }: { look: PeerLook; before: ReadonlyMap<string, Note>; isMember: boolean },
  ): PeerCold[] {
    const cold = isMember ? describeCold(node, look) : undefined;
    const note = buildNote(node, { look, cold, targets: this.#targets.get(node) ?? [] });
    const was = before.get(node)?.cold;
    this.#notes.set(node, note);
    this.#compare(node, note.summary);
    return cold === undefined || isSameCold(was, cold) ? [] : [cold];
  }

  #compare(node: string, summary: string): void {
    if ((this.#answered.get(node) ?? "") === summary) this.#different.delete(node);
    else this.#different.add(node);
  }
}

function buildNote(
  node: string,
  { look, cold, targets }: { look: PeerLook; cold: PeerCold | undefined; targets: readonly string[] },
): Note {
  const services = targets.map((service) => [`${node}/${service}`, judgePeerService(node, service, look)] as const);
  const said = look.stale === undefined ? Object.entries(look.words?.services ?? {}) : [];
  const waits = said.flatMap(([service, { waiting }]) =>
    waiting === undefined ? [] : [[`${node}/${service}`, waiting] as const],
  );
  const word = cold?.word;
  const isBare = services.length === 0 && waits.length === 0 && word === undefined;
  // Whoever says it tells it again only where its reason is another one: figures that move wake nobody.
  const summary = isBare ? "" : JSON.stringify([services, waits, word?.run, word?.done]);
  return { cold, services, waits, summary };
}

function judgePeerService(node: string, service: string, { words, stale }: PeerLook): Known["services"][string] {
  const word = words?.services[service];
  if (stale !== undefined) return { healthy: false, message: stale };
  if (word === undefined)
    return { healthy: false, message: `${node} runs no such service yet`, ...(words === undefined ? {} : STOPPED) };
  const why = word.why === undefined ? "" : `: ${word.why}`;
  const message = word.ready ? "healthy" : `it is ${word.state}${why}`;
  const stopped = word.start === undefined && ENDED.has(word.state) ? STOPPED : {};
  return { healthy: word.ready, message, ...stopped, ...(word.start === undefined ? {} : { start: word.start }) };
}

function describeCold(node: string, { state, why, words }: PeerLook): PeerCold {
  return {
    node,
    version: `${words?.boot}.${words?.seq}`,
    word: words?.cold,
    why: state === "alive" ? undefined : why,
  };
}

/** A new record says nothing new of a cold start where neither it nor the one before speaks of one. */
function isSameCold(before: PeerCold | undefined, { version, word, why }: PeerCold): boolean {
  if (before === undefined || before.why !== why) return false;
  return (before.word === undefined && word === undefined) || before.version === version;
}

/** The services of other nodes that are waited for, and those that have moved from there to here, by node. */
function selectTargets({ node: own, services }: DesiredState): Map<string, string[]> {
  const all = [...services.values()].flatMap(({ requires, wants, movedFrom }) => [
    ...requires.flatMap(({ target }) => (target.kind === "service" ? [target] : [])),
    ...wants.flatMap((target) => (target.kind === "service" ? [target] : [])),
    ...(movedFrom === undefined ? [] : [movedFrom]),
  ]);
  const targets = new Map<string, string[]>();
  for (const { node, service } of all)
    if (node !== undefined && node !== own) targets.set(node, [...(targets.get(node) ?? []), service]);
  return targets;
}
