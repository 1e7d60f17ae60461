// What `orca up` prints: where it answers, one line for each change of a service and for what is done in place, the waves of what
// starts, and on a terminal a line that shows pulls as they go. Colour only on a terminal, never with NO_COLOR.

import { styleText } from "node:util";

import { layerByNeed } from "../../../shared/fleet/graph.ts";
import { describeCaps } from "../../../shared/text/describe-caps.ts";
import type { DesiredState } from "../../../shared/state/desired-state.ts";
import { type Note, noteText } from "../../../shared/state/note.ts";
import { describeReason, describeSaid } from "../../../shared/text/describe-reason.ts";
import type { AgentEvent, TurnSummary } from "../../../shared/state/event.ts";
import type { ServiceState, ServiceView } from "../../../shared/state/status.ts";
import { cutControlCharacters } from "../../report/text/public-text.ts";
import { describeCount } from "../../../shared/text/count.ts";
import { describeTrouble, nameTrouble } from "../../../shared/text/words/hold-words.ts";

type Colour = "green" | "red" | "yellow" | "gray" | "cyan";

const COLOURS: Partial<Record<ServiceState, Colour>> = {
  healthy: "green",
  completed: "green",
  starting: "cyan",
  pulling: "cyan",
  waiting: "gray",
  stopped: "gray",
  removing: "yellow",
  backoff: "yellow",
  paused: "yellow",
  unhealthy: "red",
  invalid: "red",
  refused: "red",
  held: "red",
  failed: "red",
  stalled: "red",
  "rolled-back": "red",
};

/** A stream that lines go to. */
interface Output {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

/** Prints what an agent does, for the person who started it. */
export class UpProgress {
  readonly #output: Output;
  readonly #listTroubles: () => readonly string[];
  readonly #shown = new Map<string, string>();
  #revision: string | undefined;
  #desired: DesiredState | undefined;
  #notes: ReadonlySet<string> = new Set();
  #live = "";

  /** @param listTroubles what is not served just now, such as a port that is taken */
  constructor(output: Output, listTroubles: () => readonly string[] = () => []) {
    this.#output = output;
    this.#listTroubles = listTroubles;
  }

  /** Hears one event. */
  hear(event: AgentEvent): void {
    if (event.kind === "turn") this.#showTurn(event.turn);
    else if (event.kind === "serving") this.#showServing(event);
    else if (event.kind === "step-done") this.#showDone(event);
    else if (event.kind === "step-failed")
      this.#line(event.lane, "failed", `${event.step.kind}: ${describeSaid(event, true)}`, "red");
    else if (event.kind === "settled")
      this.#line(event.service, "settled", `recorded as good at ${event.revision}`, "green");
    else if (event.kind === "turn-failed") this.#line("agent", "fault", event.message, "red");
    else if (event.kind === "state-not-saved") this.#line("agent", "state", event.message, "yellow");
    else if (event.kind === "agent-stopping")
      this.#line("agent", "ends", `${event.reason}; the containers stay as they are`, "gray");
  }

  #showServing({ addresses, socket, troubles }: Extract<AgentEvent, { kind: "serving" }>): void {
    const places = [
      ...addresses.map((address) => `http://${address}`),
      ...(socket === undefined ? [] : [`the socket ${socket}`]),
    ];
    if (places.length > 0) this.#line("agent", "serves", places.join(" and "), "cyan");
    this.#showNotes(troubles.map(noteText));
  }

  /** What is done to a container that goes on running changes no state, and would not be seen. */
  #showDone({ step, lane, changed }: Extract<AgentEvent, { kind: "step-done" }>): void {
    if (changed && step.kind === "update-caps")
      this.#line(lane, "caps", `${describeCaps(step.from)} → ${describeCaps(step.to)}, in place`, "cyan");
    if (changed && step.kind === "signal-container") this.#line(lane, "signal", `${step.signal}, in place`, "cyan");
    if (changed && step.kind === "exec-in-container")
      this.#line(lane, "ran", `${step.command[0]} in its container`, "cyan");
  }

  /** Each once, and again when it comes back. */
  #showNotes(notes: readonly Note[]): void {
    for (const { name, text } of notes) if (!this.#notes.has(name)) this.#line("node", "note", text, "yellow");
    this.#notes = new Set(notes.map(({ name }) => name));
  }

  #showTurn({ desired, services, source, notes, endedMs }: TurnSummary): void {
    if (desired !== undefined && desired.revision !== this.#revision) this.#showRevision(desired, services);
    const trouble =
      source.trouble === undefined
        ? []
        : [{ name: nameTrouble(source.trouble), text: describeTrouble(source.trouble) }];
    this.#showNotes([...trouble, ...notes, ...this.#listTroubles().map(noteText)]);
    for (const view of services) this.#showView(view, endedMs);
    for (const name of this.#shown.keys()) if (!services.some((view) => view.name === name)) this.#shown.delete(name);
    this.#showLive(services.filter((view) => view.state === "pulling").map((view) => `${view.name}: ${view.reason}`));
  }

  #showRevision(desired: DesiredState, services: readonly ServiceView[]): void {
    this.#desired = desired;
    this.#revision = desired.revision;
    const starting = new Set(services.filter(({ state }) => STARTING.has(state)).map(({ name }) => name));
    const waves = listWaves(desired)
      .map((wave) => wave.filter((name) => starting.has(name)))
      .filter((wave) => wave.length > 0);
    const listed = waves.flat();
    // What waits for a secret or an approval is in no wave yet.
    const later = [...starting].filter((name) => !listed.includes(name));
    const plan = waves.length === 0 ? "" : `, ${listed.length} to start in ${describeCount(waves.length, "wave")}`;
    const rest = later.length === 0 ? "" : `, later ${later.join(" ")}`;
    const told = `${describeCount(services.length, "service")} at ${desired.revision}${plan}${rest}`;
    this.#line("node", desired.node, told, "cyan");
    for (const [index, wave] of waves.entries()) this.#line("wave", String(index + 1), wave.join(" "), "gray");
    for (const note of describeUnused(desired)) this.#line("node", "note", note, "gray");
  }

  #showView(view: ServiceView, nowMs: number): void {
    const shown = nameShown(view);
    if (this.#shown.get(view.name) === shown) return;
    this.#shown.set(view.name, shown);
    this.#line(view.name, view.state, describeReason(view.fact, nowMs, true), COLOURS[view.state] ?? "gray");
    if (view.state !== "healthy") return;
    const known = new Set(this.#desired?.services.get(view.name)?.notes);
    for (const note of view.notes) if (!known.has(note)) this.#line(view.name, "note", note, "gray");
  }

  #line(subject: string, word: string, detail: string, colour: Colour): void {
    this.#clearLive();
    const time = new Date().toISOString().slice(11, 19);
    const [what, how, why] = [subject.padEnd(22), word.padEnd(10), detail].map(cutControlCharacters);
    this.#output.write(`${time} ${what} ${this.#paint(how ?? "", colour)} ${why}\n`);
  }

  #showLive(pulls: readonly string[]): void {
    if (this.#output.isTTY !== true) return;
    this.#clearLive();
    this.#live = cutControlCharacters(pulls.join("   ")).slice(0, (this.#output.columns ?? 80) - 1);
    if (this.#live !== "") this.#output.write(this.#live);
  }

  #clearLive(): void {
    if (this.#live === "") return;
    this.#output.write(`\r${" ".repeat(this.#live.length)}\r`);
    this.#live = "";
  }

  #paint(text: string, colour: Colour): string {
    const plain = this.#output.isTTY !== true || process.env["NO_COLOR"] !== undefined;
    return plain ? text : styleText(colour, text, { validateStream: false });
  }
}

/** What has still to start, or starts again. */
const STARTING: ReadonlySet<ServiceState> = new Set<ServiceState>(["waiting", "pulling", "starting", "backoff"]);

/** Under an objection to its manifest, or to its secrets, a service goes on: what becomes of it there is a change as well. */
function nameShown({ state, fact }: ServiceView): string {
  return fact.code === "objection" || fact.code === "secrets-refused" ? `${state}, ${fact.state}` : state;
}

/** The parts of manifests that this version does not act on, once each, with how many services have them. */
function describeUnused(desired: DesiredState): string[] {
  const notes = [...desired.services.values()].flatMap(({ unused = [] }) => unused);
  return [...Map.groupBy(notes, (note) => note)].map(
    ([note, all]) => `${note} (${describeCount(all.length, "service")})`,
  );
}

/** The waves of a start on this node: each holds what can start once the ones before it are healthy. */
export function listWaves(desired: DesiredState): string[][] {
  const needs = [...desired.services.values()].map(({ name, requires, wants }) => {
    const own = [...requires.map((entry) => entry.target), ...wants].flatMap((target) =>
      target.kind === "service" && (target.node ?? desired.node) === desired.node ? [target.service] : [],
    );
    return [name, own] as const;
  });
  const { waves, circular } = layerByNeed(new Map(needs));
  // What waits in a circle comes last: status says so.
  return circular.length > 0 ? [...waves, circular] : waves;
}
