// Knows the secrets of this node: asks the provider, keeps what it said last sealed on disk, and says what is known without
// a value. The only place that holds values between their reading and their delivery.

import { jitterFraction } from "../../../shared/state/identity.ts";
import type { Redactor } from "../../../shared/secret/redactor.ts";
import type { Secret } from "../../../shared/secret/secret.ts";
import type { SecretFacts, SecretTrouble } from "../../../shared/secret/secret-facts.ts";
import type { SecretAnswer, SecretProvider, SecretRefused } from "../../../shared/secret/secret-provider.ts";
import { type Clock, ClockSteps, nameMoment } from "../../host/os/clock.ts";
import { isBootstrap, readBootstrap } from "../bootstrap-file.ts";
import { buildFacts, describeFact, type Known } from "./fact-view.ts";
import type { HostKey } from "./host-key.ts";
import { digestValue, KeptValues } from "./kept-values.ts";
import { REFUSAL_POLL_MS, Refusals } from "./refusals.ts";
import { chooseDelayMs } from "./rhythm.ts";
import { findRest, judgeRound, type Rest, type RoundVerdict } from "./round.ts";
import type { SealedFile } from "./seal.ts";
import { readMessage } from "../../../shared/text/read-message.ts";

/** What a keeper needs. */
export interface KeeperOptions {
  /** Undefined where none is configured: then only bootstrap files are read. */
  provider: SecretProvider | undefined;
  /** Where values outlive the agent; undefined where nothing is to be kept. */
  sealed: SealedFile | undefined;
  key: HostKey;
  clock: Clock;
  redactor: Redactor;
  /** A value that was last read longer ago than that is not used any more. */
  maxStaleMs: number;
  /** Called when something has become known. */
  onChange: () => void;
}

/** The secrets of one node. */
export class SecretKeeper {
  readonly #options: KeeperOptions;
  readonly #digestKey: Buffer;
  readonly #kept = new KeptValues();
  #answers = new Map<string, Known>();
  readonly #refusals: Refusals;
  #wanted: ReadonlySet<string> = new Set();
  /** Folders outside of which nothing may be asked for. */
  #within: readonly string[] | undefined;
  #rest: Rest | undefined;
  #inUse: ReadonlySet<string> = new Set();
  #facts: SecretFacts;
  #reading: Promise<void> | undefined;
  #again = false;
  readonly #steps: ClockSteps;
  #failures = 0;
  #trouble: SecretTrouble | undefined;
  /** When the provider is asked next, by the clock that never jumps. */
  #nextAtMs: number | undefined;
  #faults: string[] = [];
  #cancelTimer = (): void => undefined;
  #closed = false;
  /** False until somebody has said what is needed: nothing may be forgotten before that. */
  #knowsWants = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#digestKey = options.key.derive("secret digest");
    this.#refusals = new Refusals(options.clock);
    this.#steps = new ClockSteps(options.clock);
    this.#facts = this.#buildFacts();
  }

  /** What is known now; the same object as long as nothing has changed. */
  get facts(): SecretFacts {
    this.#followClock();
    return this.#facts;
  }

  /** True while a reading is under way. */
  get isBusy(): boolean {
    return this.#reading !== undefined;
  }

  /** What people should know of how the provider is set up, and of what is kept. */
  get notes(): string[] {
    return [...(this.#options.provider?.notes ?? []), ...this.#faults];
  }

  /** Why the provider gives nothing, and since when. */
  get trouble(): SecretTrouble | undefined {
    this.#followClock();
    const { clock } = this.#options;
    const retry = this.#nextAtMs === undefined ? {} : { retryMs: nameMoment(clock, this.#nextAtMs) };
    return this.#trouble && { ...this.#trouble, ...retry };
  }

  /** Opens what is sealed on disk, and begins to watch the provider. */
  async start(): Promise<void> {
    const { sealed, provider, key } = this.#options;
    const { kept, lost, refusals = [] } = (await sealed?.load()) ?? { kept: [], lost: 0 };
    this.#refusals.load(refusals);
    this.#kept.load(kept);
    if (lost > 0)
      this.#faults.push(`secrets: ${lost} sealed values do not open with ${key.location}; they are read anew`);
    this.#learn();
    provider?.watch(() => this.refresh());
    this.#facts = this.#buildFacts();
  }

  /**
   * Says which paths are needed; one that was never asked for is asked for at once.
   * @param within folders outside of which nothing may be asked for; undefined: none are set
   */
  want(paths: ReadonlySet<string>, within?: readonly string[]): void {
    const isNew = [...paths].some((path) => !this.#wanted.has(path) && !this.#answers.has(path));
    this.#wanted = paths;
    this.#within = within;
    this.#knowsWants = true;
    // A provider that cannot be asked is not asked more often because more is wanted of it.
    if (!isNew || (this.#trouble !== undefined && ![...paths].some(isBootstrap))) return;
    if (this.#rest === undefined) this.refresh();
    else this.#begin();
  }

  /** Says which versions a service runs with or could go back to: these are kept. */
  use(versions: ReadonlySet<string>): void {
    this.#inUse = versions;
  }

  /** The value of one version, for the one place that delivers it. */
  find(path: string, version: string): Secret | undefined {
    return this.#kept.find(path, version);
  }

  /** Asks the provider now, for everything; while it is being asked already, once more after that. */
  refresh(): void {
    this.#rest = undefined;
    this.#begin();
  }

  /** Asks for everything, or for what a round that was cut off has left. */
  #begin(): void {
    if (this.#closed || !this.#knowsWants) return;
    if (this.#reading !== undefined) {
      this.#again = true;
      return;
    }
    this.#cancelTimer();
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.#begin();
    });
  }

  /** Ends watching and waits for a reading under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer();
    this.#options.provider?.close();
    await this.#reading;
  }

  async #read(): Promise<void> {
    const { provider, clock } = this.#options;
    const wanted = [...this.#wanted].toSorted();
    const all = provider === undefined ? [] : wanted.filter((path) => !isBootstrap(path));
    const rest = this.#rest;
    const paths = rest === undefined ? all : all.filter((path) => rest.paths.has(path) || !this.#answers.has(path));
    const answers = new Map<string, SecretAnswer>();
    for (const path of wanted.filter(isBootstrap)) answers.set(path, await readBootstrap(path));
    const given = paths.length > 0 ? await provider?.read(paths, this.#within) : undefined;
    if (this.#closed) return;
    const round = judgeRound({
      answers: given ?? new Map(),
      size: all.length,
      answeredBefore: rest?.answered ?? false,
      away: new Set(paths.filter((path) => this.#answers.get(path)?.kind === "unavailable")),
    });
    for (const [path, answer] of given ?? []) answers.set(path, answer);
    this.#followClock();
    const nowMs = clock.nowMs();
    let news = false;
    for (const [path, answer] of answers) news = this.#take(path, answer, { round, nowMs }) || news;
    this.#forget();
    const wasDown = this.#trouble !== undefined;
    this.#noteTrouble(round, nowMs);
    // A reading that was asked for meanwhile begins anew.
    const forMs = provider?.pollMs ?? REFUSAL_POLL_MS;
    if (this.#rest === rest) this.#rest = findRest(round, rest, { nowMs: clock.monotonicMs(), forMs });
    this.#learn();
    await this.#save([...answers.values()].some(({ kind }) => kind !== "unavailable"));
    this.#schedule(round);
    if (!news && !wasDown && this.#trouble === undefined) return;
    this.#facts = this.#buildFacts();
    this.#options.onChange();
  }

  /** Where somebody has set the wall clock, all that was named by it moves along. */
  #followClock(): void {
    const stepMs = this.#steps.take();
    if (stepMs === 0) return;
    this.#kept.move(stepMs);
    this.#refusals.move(stepMs);
    if (this.#trouble !== undefined) this.#trouble = { ...this.#trouble, sinceMs: this.#trouble.sinceMs + stepMs };
    this.#facts = this.#buildFacts();
  }

  /** Takes one answer over; true when it says something else than the one before. */
  #take(path: string, answer: SecretAnswer, { round, nowMs }: { round: RoundVerdict; nowMs: number }): boolean {
    const before = this.#answers.get(path);
    if (answer.kind === "unavailable") {
      // The round goes on there in a moment.
      if (round.led && before?.kind === "value") return false;
      this.#answers.set(path, answer);
      return before?.kind !== answer.kind;
    }
    if (answer.kind !== "value") return this.#takeRefusal(path, answer, round);
    const version = digestValue(this.#digestKey, path, answer.value);
    this.#kept.put({ path, version, readMs: nowMs, value: answer.value }, this.#inUse);
    this.#answers.set(path, { kind: "value", version });
    this.#refusals.clear(path);
    return before?.kind !== "value" || before.version !== version;
  }

  /** A refusal of everything is a failure of the round; one of a path ends its value when it has stood for its time. */
  #takeRefusal(path: string, answer: SecretRefused, round: RoundVerdict): boolean {
    const before = this.#answers.get(path);
    const kept = this.#kept.findNewest(path);
    const { kind, reason } = answer;
    if (kept !== undefined && !round.confirmed && !isBootstrap(path)) {
      this.#answers.set(path, { kind: "unavailable", reason: `it refuses everything: ${reason}` });
      return before?.kind !== "unavailable";
    }
    const known = this.#refusals.get(path);
    this.#answers.set(path, { kind, reason });
    if (kept === undefined && known === undefined) return before?.kind !== kind || before.reason !== reason;
    const refusal = this.#refusals.note(path, answer, kept?.readMs ?? known?.readMs ?? 0);
    if (refusal.ended) this.#kept.end(path);
    return known === undefined || known.ended !== refusal.ended || known.reason !== reason || before?.kind !== kind;
  }

  #forget(): void {
    this.#kept.forget(this.#wanted, this.#inUse);
    for (const path of this.#answers.keys()) if (!this.#wanted.has(path)) this.#answers.delete(path);
    this.#refusals.keepOnly(this.#wanted);
  }

  #noteTrouble({ down, refusesAll }: RoundVerdict, nowMs: number): void {
    const reason = down?.reason ?? (refusesAll === undefined ? undefined : `it refuses everything: ${refusesAll}`);
    this.#failures = reason === undefined ? 0 : this.#failures + 1;
    const { provider } = this.#options;
    // What was never given is refused, and said so of the services that ask for it: the provider is not in trouble for that.
    const isNews = down !== undefined || !this.#kept.isEmpty;
    if (reason === undefined || provider === undefined || !isNews) this.#trouble = undefined;
    else {
      const refused = down?.refused === true || (down === undefined && refusesAll !== undefined);
      this.#trouble = { location: provider.location, reason, refused, sinceMs: this.#trouble?.sinceMs ?? nowMs };
    }
  }

  #schedule(round: RoundVerdict): void {
    const { provider, clock, key } = this.#options;
    const spread = jitterFraction(`${key.derive("secret spread").toString("hex")}\n${clock.nowMs()}`);
    const rhythm = { failures: this.#failures, pollMs: provider?.pollMs, isOpen: this.#refusals.isOpen, spread };
    const delayMs = chooseDelayMs(round, rhythm);
    this.#nextAtMs = delayMs === undefined ? undefined : clock.monotonicMs() + delayMs;
    if (delayMs === undefined || this.#closed) return;
    this.#cancelTimer = clock.after(delayMs, () => this.#begin());
  }

  async #save(hasRead: boolean): Promise<void> {
    if (!hasRead) return;
    try {
      await this.#options.sealed?.save(this.#kept.listSealed(), this.#refusals.list());
      this.#faults = [];
    } catch (error) {
      const reason = readMessage(error);
      this.#faults = [
        `secrets: the last known values could not be sealed on disk, a reboot would not have them: ${reason}`,
      ];
    }
  }

  #learn(): void {
    this.#options.redactor.learn(this.#kept.listHidden());
  }

  #buildFacts(): SecretFacts {
    const { provider, clock, maxStaleMs } = this.#options;
    const ages = { nowMs: clock.nowMs(), maxStaleMs };
    const paths = [...this.#answers.keys(), ...this.#refusals.list().map(({ path }) => path)];
    const facts = paths.map((path) => {
      const newest = this.#kept.findNewest(path);
      const known = { answer: this.#answers.get(path), newest, refusal: this.#refusals.get(path) };
      return [path, describeFact(known, ages)] as const;
    });
    return buildFacts(provider, new Map(facts), (path, version) => this.find(path, version));
  }
}
