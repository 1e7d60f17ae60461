// Reads the source and keeps the desired state that was built from it: a turn in which nothing changed builds nothing.
// The shell around desired/. It decides when a state is out of date, what a failed reading leaves in force, and to which revision an
// allowance of removals belongs.

import { type Built, buildDesired, type DesiredInput } from "../desired/build/build.ts";
import { hashInputs } from "../desired/repository/inputs.ts";
import { buildKnownGood } from "../desired/build/known-good.ts";
import { ParseCache } from "../desired/repository/repository.ts";
import type { DesiredSettings } from "../desired/build/desired-settings.ts";
import { type Clock, nameMoment } from "../host/os/clock.ts";
import { RotationDeadlines } from "./rotation-deadlines.ts";
import type { SecretKeeper } from "../secrets/keeper/keeper.ts";
import { TemplateCache } from "./template-cache.ts";
import { WatchedPaths } from "./watched-paths.ts";
import type { DesiredState } from "../../shared/state/desired-state.ts";
import type { SourceState } from "../../shared/state/event.ts";
import { findFronted } from "../../shared/state/front.ts";
import type { Hold } from "../../shared/state/hold.ts";
import { cutText } from "../../shared/text/problem.ts";
import type { InForce } from "../../shared/state/in-force.ts";
import type { ObservedEngine } from "../../shared/state/observed-state.ts";
import type { ServiceStanding } from "../../shared/state/rotation.ts";
import type { SecretFacts } from "../../shared/secret/secret-facts.ts";
import type { Snapshot, Source, SourceReading } from "../../shared/state/snapshot.ts";

/** What the builder needs. */
export interface BuilderOptions {
  source: Source;
  settings: DesiredSettings;
  clock: Clock;
  inForce: InForce | undefined;
  contents: ReadonlyMap<string, Uint8Array>;
  /** What is known of secrets, and who is told which are needed. */
  secrets: Pick<SecretKeeper, "facts" | "notes" | "want">;
}

/** The desired state of a turn; undefined where nothing was ever read. */
export interface BuiltState {
  desired: DesiredState | undefined;
  inForce: InForce | undefined;
  source: SourceState;
  /** When what is held is to be looked at again. */
  nextMs: number | undefined;
  /** True when it was built anew in this turn. */
  fresh: boolean;
}

/** How soon inputs that could not be built are tried again as they are. */
const RETRY_MS = 30_000;

/** Builds desired state for one node. */
export class DesiredBuilder {
  readonly #options: BuilderOptions;
  readonly #cache = new ParseCache();
  #settings: DesiredSettings;
  #inForce: InForce | undefined;
  #contents: ReadonlyMap<string, Uint8Array>;
  #built: { built: Built; key: string; facts: SecretFacts; snapshot: Snapshot; nextMs: number | undefined } | undefined;
  #gates: Pick<DesiredInput, "approvals" | "rollout"> = {};
  #newest: { snapshot: Snapshot; inputs: string } | undefined;
  /** When the source was last read well, by the clock that never jumps. */
  #readAtMs: number | undefined;
  #standings: ReadonlyMap<string, ServiceStanding> = new Map();
  readonly #turns = new RotationDeadlines();
  #allowed: { revision: string | undefined; count: number } = { revision: undefined, count: 0 };
  #templates: TemplateCache | undefined;
  readonly #paths = new WatchedPaths();
  /** Why the newest inputs could not be built, and until when they are not tried again as they are. */
  #fault: { snapshot: Snapshot; message: string; untilMs: number } | undefined;
  #reconfigured = false;

  constructor(options: BuilderOptions) {
    this.#options = options;
    this.#settings = options.settings;
    this.#inForce = options.inForce;
    this.#contents = options.contents;
    options.source.follow?.(options.inForce);
  }

  /** True while nothing is known of what ran here before: then the containers themselves are asked. */
  get needsAdoption(): boolean {
    return this.#inForce === undefined;
  }

  /** The host's law as it is now, and what is known of secrets: what was kept is judged by them. */
  get law(): { settings: DesiredSettings; secrets: SecretFacts } {
    return { settings: this.#settings, secrets: this.#options.secrets.facts };
  }

  /** Lets the newest snapshot remove up to so many services. */
  allowRemovals(count: number): void {
    this.#allowed = { revision: undefined, count };
  }

  /** Reads the source anew at the next turn. */
  invalidate(): void {
    this.#options.source.invalidate();
  }

  /** Takes how services stand with what they were given. */
  noteStandings(standings: ReadonlyMap<string, ServiceStanding>): void {
    this.#standings = standings;
  }

  /** True where how services stand now may give another one its turn: then the next turn should not wait. */
  get needsAnotherTurn(): boolean {
    if (this.#built === undefined || this.#fault !== undefined || this.needsAdoption) return false;
    return this.#built.key !== this.#key([]);
  }

  /** Takes new settings, such as a changed policy. */
  configure(settings: DesiredSettings): void {
    this.#settings = settings;
    this.#reconfigured = true;
    this.#fault = undefined;
  }

  /** Builds what the newest readable inputs say. */
  async build(engine: ObservedEngine): Promise<BuiltState> {
    const { source, clock } = this.#options;
    const reading = await source.read();
    const snapshot = reading.kind === "read" ? reading.snapshot : this.#lastKnownGood(reading.distrusted === true);
    if (reading.kind === "read") this.#gates = { approvals: reading.approvals, rollout: reading.rollout };
    if (reading.readMs !== undefined) this.#readAtMs = clock.monotonicMs() + reading.readMs - clock.nowMs();
    // Without a memory of what ran here, a change cannot be judged until the engine has said what runs.
    if (snapshot === undefined || (this.needsAdoption && !engine.reachable)) {
      return {
        desired: undefined,
        inForce: undefined,
        source: this.#describeSource(reading, undefined),
        nextMs: undefined,
        fresh: false,
      };
    }
    const adopted = engine.reachable
      ? [...new Set(engine.containers.map(({ service }) => findFronted(service) ?? service))].toSorted()
      : [];
    if (reading.refreshing !== true) this.#bindAllowance(snapshot);
    const fresh = await this.#isStale(snapshot, adopted);
    if (fresh) await this.#tryRebuild(snapshot, adopted);
    const built = this.#built?.built;
    return {
      desired: built?.desired,
      inForce: this.#inForce,
      source: this.#describeSource(reading, built?.desired),
      nextMs: this.#findNextMs(),
      fresh,
    };
  }

  /** What a person allowed is for what was read next after that, and not for what comes later. */
  #bindAllowance({ revision }: Snapshot): void {
    this.#allowed.revision ??= revision;
    if (this.#allowed.revision !== revision) this.#allowed = { revision, count: 0 };
  }

  async #isStale(snapshot: Snapshot, adopted: readonly string[]): Promise<boolean> {
    // What cannot be built is not built again and again, but what it was built with may have changed.
    if (this.#fault?.snapshot === snapshot && this.#options.clock.monotonicMs() < this.#fault.untilMs) return false;
    if (this.#reconfigured || this.#built?.snapshot !== snapshot || this.#built.key !== this.#key(adopted)) return true;
    if (this.#built.facts !== this.#options.secrets.facts) return true;
    if (this.#built.nextMs !== undefined && this.#options.clock.nowMs() >= this.#built.nextMs) return true;
    return this.#paths.haveChanged();
  }

  /** When what is held, or the turn of a service that takes newer values, is to be looked at again. */
  #findNextMs(): number | undefined {
    const { clock } = this.#options;
    if (this.#fault !== undefined) return clock.nowMs() + Math.max(0, this.#fault.untilMs - clock.monotonicMs());
    const turnMs = this.#turns.nextInMs(clock.monotonicMs());
    const next = [this.#built?.nextMs, turnMs === undefined ? undefined : clock.nowMs() + turnMs];
    const known = next.filter((at) => at !== undefined);
    return known.length === 0 ? undefined : Math.min(...known);
  }

  /** What runs matters only while nothing is remembered; later the inputs in force say what was there. */
  #key(adopted: readonly string[]): string {
    const turns = this.#built?.built.rotating === true ? this.#describeTurns() : [];
    return JSON.stringify([this.needsAdoption ? adopted : [], this.#allowed.count, turns, this.#gates]);
  }

  /** What decides whose turn it is to take newer values of secrets; the words of faults change with every turn. */
  #describeTurns(): string[] {
    const late = [...this.#turns.listLate(this.#options.clock.monotonicMs())].map((name) => `${name} late`);
    const standings = [...this.#standings].map(
      ([name, { settled, fault }]) => `${name} ${settled} ${fault === undefined ? "" : fault.wentBack}`,
    );
    return [...late, ...standings].toSorted();
  }

  /** What throws while all is built must not end the turn: what is in force is healed as before, and status says why. */
  async #tryRebuild(snapshot: Snapshot, adopted: readonly string[]): Promise<void> {
    try {
      await this.#rebuild(snapshot, adopted);
      this.#fault = undefined;
      this.#reconfigured = false;
    } catch (error) {
      const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      const message = `${snapshot.revision} cannot be built, and what is in force stays: ${cutText(said)}`;
      const untilMs = this.#options.clock.monotonicMs() + RETRY_MS;
      this.#fault = { snapshot, message, untilMs };
      const known = this.#built === undefined ? this.#lastKnownGood(false) : undefined;
      // After a start nothing was built yet: what was in force when the agent ended is in force now.
      if (known !== undefined) await this.#rebuild(known, adopted).catch(() => undefined);
    }
  }

  async #rebuild(snapshot: Snapshot, adopted: readonly string[]): Promise<void> {
    const { secrets } = this.#options;
    const { facts } = secrets;
    const nowMs = this.#options.clock.monotonicMs();
    this.#paths.clear();
    const built = await buildDesired({
      snapshot,
      inForce: this.#inForce,
      storedContents: this.#contents,
      adopted: this.needsAdoption ? adopted : [],
      allowedRemovals: this.#allowed.count,
      ...this.#gates,
      host: this.#paths,
      settings: await this.#withRenderer(snapshot),
      secrets: { facts, standings: this.#standings, late: this.#turns.listLate(nowMs), notes: secrets.notes },
      cache: this.#cache,
      nowMs: this.#options.clock.nowMs(),
    });
    if (built.desired.held === undefined || this.#inForce !== undefined) this.#inForce = built.inForce;
    this.#options.source.follow?.(this.#inForce);
    this.#contents = built.desired.contents;
    this.#templates?.sweep();
    this.#turns.follow(built, this.#standings, nowMs);
    const ends = (built.desired.held?.holds ?? []).flatMap(({ untilMs }) => untilMs ?? []);
    const nextMs = ends.length === 0 ? undefined : Math.min(...ends);
    this.#built = { built, key: "", facts, snapshot, nextMs };
    this.#built.key = this.#key(adopted);
    secrets.want(built.secretPaths, this.#settings.policy.secrets.allowed_prefixes);
  }

  /** The template engine is loaded only where a manifest asks for it. */
  async #withRenderer(snapshot: Snapshot): Promise<DesiredSettings> {
    const texts = Object.values(snapshot.manifests[this.#settings.node] ?? {});
    if (this.#settings.templates !== undefined || !texts.some((text) => text.includes("template")))
      return this.#settings;
    const { templates } = await import("../../shared/text/template.ts");
    this.#templates ??= new TemplateCache(templates);
    this.#settings = { ...this.#settings, templates: this.#templates };
    return this.#settings;
  }

  /**
   * A snapshot made from what is in force, for a source that cannot be read: error is not empty. What was held is not put
   * in force any more once its branch is distrusted.
   */
  #lastKnownGood(distrusted: boolean): Snapshot | undefined {
    const built = this.#built;
    if (built !== undefined && !(distrusted && built.built.desired.held !== undefined)) return built.snapshot;
    const inForce = this.#inForce;
    if (inForce === undefined) return undefined;
    return buildKnownGood(inForce, this.#contents, this.#settings.node);
  }

  /** Nothing while the source cannot be read: what was put together from what is in force is no commit. */
  #describeNewest(reading: SourceReading): Pick<SourceState, "newest"> {
    if (reading.kind === "failed") {
      // What is in a commit that is not trusted is nobody's inputs.
      const { revision } = reading;
      return revision === undefined ? {} : { newest: { revision, inputs: `not trusted: ${revision}` } };
    }
    const { snapshot } = reading;
    if (snapshot.commit === undefined) return {};
    if (this.#newest?.snapshot !== snapshot)
      this.#newest = { snapshot, inputs: hashInputs(snapshot, this.#settings.node) };
    return { newest: { revision: snapshot.revision, inputs: this.#newest.inputs } };
  }

  #describeTrouble(reading: SourceReading, holds: readonly Hold[] | undefined): Pick<SourceState, "trouble" | "fault"> {
    const fault = this.#fault?.message;
    if (reading.kind === "failed") return { trouble: reading.why, ...(fault !== undefined && { fault }) };
    if (fault !== undefined) return { trouble: { code: "build-failed", message: fault }, fault };
    return { trouble: holds && { code: "held", holds } };
  }

  #describeSource(reading: SourceReading, desired: DesiredState | undefined): SourceState {
    const { source, clock } = this.#options;
    const snapshot = this.#built?.snapshot;
    const held = desired?.held?.holds;
    const isDistrusted = reading.kind === "failed" && reading.distrusted === true;
    const distrust = isDistrusted ? ({ kind: "trust", why: reading.why } as const) : undefined;
    const commit = snapshot?.revision === desired?.revision ? snapshot?.commit : undefined;
    return {
      kind: source.kind,
      location: source.location,
      revision: desired?.revision,
      readMs: this.#readAtMs === undefined ? undefined : nameMoment(clock, this.#readAtMs),
      ...this.#describeTrouble(reading, held),
      holds: [...(distrust === undefined ? [] : [distrust]), ...(held ?? [])],
      retryMs: reading.kind === "failed" ? reading.retryMs : undefined,
      refreshing: reading.refreshing === true,
      ...this.#describeNewest(reading),
      ...(commit === undefined ? {} : { commit }),
      ...describeRead(reading, held !== undefined),
    };
  }
}

function describeRead(reading: SourceReading, isHeld: boolean): Pick<SourceState, "approval" | "notes"> {
  const { approvals, notes } = reading.kind === "read" ? reading : {};
  return { ...(approvals?.granted && !isHeld && { approval: approvals.granted }), ...(notes && { notes }) };
}
