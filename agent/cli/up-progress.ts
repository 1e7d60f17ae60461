// What `orca up` prints: one line for each change of a service, the waves of the start, and on a terminal a line that
// shows pulls as they go. Colour only on a terminal, never with NO_COLOR.

import { styleText } from "node:util";

import type { DesiredState } from "../../shared/desired-state.ts";
import type { AgentEvent, TurnSummary } from "../../shared/event.ts";
import type { ServiceState, ServiceView } from "../../shared/status.ts";

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
  readonly #shown = new Map<string, string>();
  #revision: string | undefined;
  #desired: DesiredState | undefined;
  #trouble: string | undefined;
  #live = "";

  constructor(output: Output) {
    this.#output = output;
  }

  /** Hears one event. */
  hear(event: AgentEvent): void {
    if (event.kind === "turn") this.#showTurn(event.turn);
    else if (event.kind === "step-failed")
      this.#line(event.lane, "failed", `${event.step.kind}: ${event.message}`, "red");
    else if (event.kind === "settled")
      this.#line(event.service, "settled", `recorded as good at ${event.revision}`, "green");
    else if (event.kind === "turn-failed") this.#line("agent", "fault", event.message, "red");
    else if (event.kind === "state-not-saved") this.#line("agent", "state", event.message, "yellow");
    else if (event.kind === "agent-stopping")
      this.#line("agent", "ends", `${event.reason}; the containers stay as they are`, "gray");
  }

  #showTurn({ desired, services, source, notes }: TurnSummary): void {
    if (desired !== undefined && desired.revision !== this.#revision) this.#showRevision(desired);
    const trouble = source.trouble ?? notes[0];
    if (trouble !== undefined && trouble !== this.#trouble) this.#line("node", "note", trouble, "yellow");
    this.#trouble = trouble;
    for (const view of services) this.#showView(view);
    for (const name of this.#shown.keys()) if (!services.some((view) => view.name === name)) this.#shown.delete(name);
    this.#showLive(services.filter((view) => view.state === "pulling").map((view) => `${view.name}: ${view.reason}`));
  }

  #showRevision(desired: DesiredState): void {
    this.#desired = desired;
    this.#revision = desired.revision;
    const waves = listWaves(desired);
    this.#line(
      "node",
      desired.node,
      `${desired.services.size} services in ${waves.length} waves at ${desired.revision}`,
      "cyan",
    );
    for (const [index, wave] of waves.entries()) this.#line("wave", String(index + 1), wave.join(" "), "gray");
    for (const note of describeUnused(desired)) this.#line("node", "note", note, "gray");
  }

  #showView(view: ServiceView): void {
    if (this.#shown.get(view.name) === view.state) return;
    this.#shown.set(view.name, view.state);
    this.#line(view.name, view.state, view.reason, COLOURS[view.state] ?? "gray");
    if (view.state !== "healthy") return;
    const known = new Set(this.#desired?.services.get(view.name)?.notes);
    for (const note of view.notes) if (!known.has(note)) this.#line(view.name, "note", note, "gray");
  }

  #line(subject: string, word: string, detail: string, colour: Colour): void {
    this.#clearLive();
    const time = new Date().toISOString().slice(11, 19);
    this.#output.write(`${time} ${subject.padEnd(22)} ${this.#paint(word.padEnd(10), colour)} ${detail}\n`);
  }

  #showLive(pulls: readonly string[]): void {
    if (this.#output.isTTY !== true) return;
    this.#clearLive();
    this.#live = pulls.join("   ").slice(0, (this.#output.columns ?? 80) - 1);
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

/** The parts of manifests that this version does not act on, once each, with how many services have them. */
function describeUnused(desired: DesiredState): string[] {
  const notes = [...desired.services.values()].flatMap((service) =>
    service.notes.map((note) => note.replace(/:.*$/, "")),
  );
  return [...Map.groupBy(notes, (note) => note)].map(([note, all]) => `${note} (${all.length} services)`);
}

/** The waves of a start on this node: each holds what can start once the ones before it are healthy. */
export function listWaves(desired: DesiredState): string[][] {
  const waves: string[][] = [];
  const done = new Set<string>();
  const left = new Map(desired.services);
  while (left.size > 0) {
    const wave = [...left.values()].filter((service) =>
      [...service.requires.map((entry) => entry.target), ...service.wants].every(
        (target) =>
          target.kind === "endpoint" ||
          (target.node ?? desired.node) !== desired.node ||
          done.has(target.service) ||
          !left.has(target.service),
      ),
    );
    // Whatever is left waits in a circle, or for something that is not here: status says so.
    const names = (wave.length > 0 ? wave : [...left.values()]).map((service) => service.name).toSorted();
    waves.push(names);
    for (const name of names) {
      done.add(name);
      left.delete(name);
    }
  }
  return waves;
}
